"""What torch asks of a process group beside its collectives: the names that it was given."""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist

_Group: Any = dist.ProcessGroup


class NamedGroup(_Group):  # type: ignore[misc]  # torch ships no types for the class
    """A process group that keeps its name and its description, as torch sets them."""

    def __init__(self, rank: int, size: int, name: str = "") -> None:
        super().__init__(rank, size)
        self._name, self._text = name, ""

    def _set_group_name(self, name: str) -> None:
        self._name = name

    def _set_group_desc(self, text: str) -> None:
        self._text = text

    @property
    def group_name(self) -> str:
        return self._name

    @property
    def group_desc(self) -> str:
        return self._text

    @property
    def pg_name(self) -> str:
        return self._name


def held(result: Any) -> Any:
    """A future that holds the result of work that is over."""
    future: Any = torch.futures.Future()
    future.set_result(result)
    return future
