"""The table of schedulers."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from difflib import get_close_matches
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any, Final

from controller.errors import BadWorkload
from controller.serving.instance import Decide
from controller.serving.state import USUAL_LIMITS, ServerLimits


@dataclass(frozen=True, slots=True)
class SchedulerEntry:
    """One scheduler.

    Attributes:
        name: what the command line calls it.
        summary: one line for people.
        target: ``module:function``, a `Decide`.
        limits: what its authors run it with.
    """

    name: str
    summary: str
    target: str
    limits: ServerLimits = USUAL_LIMITS

    @property
    def decide(self) -> Decide:
        """The function, imported now."""
        module, _, name = self.target.partition(":")
        found: Decide = getattr(importlib.import_module(module), name)
        return found


_HERE = "controller.serving.schedulers"

SCHEDULERS: Final[Mapping[str, SchedulerEntry]] = {
    entry.name: entry
    for entry in (
        SchedulerEntry(
            "vllm", "prompts first and whole, then everybody decodes; the latest leaves and is recomputed",
            f"{_HERE}.vllm:decide", ServerLimits(256, 2048),
        ),
        SchedulerEntry(
            "vllm_swap", "the same; the latest leaves to host memory", f"{_HERE}.vllm:decide",
            ServerLimits(256, 2048, swap=True),
        ),
        SchedulerEntry(
            "sarathi", "a budget of tokens an iteration: decodes first, chunks of prompts into the rest",
            f"{_HERE}.sarathi:decide", ServerLimits(128, 512),
        ),
    )
}  # fmt: skip
"""By name."""


def load_scheduler(name: str, changes: Mapping[str, Any] | None = None) -> SchedulerEntry:
    """The scheduler called `name`, or the function behind ``path/to/file.py:function``.

    Args:
        name: as the command line has it.
        changes: of its limits.

    Raises:
        BadWorkload: neither; names the nearest one, or what is wrong with the file.
    """
    path, colon, function = name.rpartition(":")
    if name in SCHEDULERS:
        entry = SCHEDULERS[name]
    elif colon and path.endswith(".py"):
        entry = _of_file(Path(path), function)
    else:
        close = get_close_matches(name, SCHEDULERS, 1)
        hint = f"did you mean {close[0]!r}?" if close else f"there are {', '.join(SCHEDULERS)}"
        raise BadWorkload(f"no scheduler {name!r}; {hint} (one of your own is path/to/file.py:function)")
    return replace(entry, limits=replace(entry.limits, **changes)) if changes else entry


def _of_file(path: Path, function: str) -> SchedulerEntry:
    if not path.is_file():
        raise BadWorkload(f"no scheduler file {path}; write the path of a Python file that exists")
    spec = spec_from_file_location(f"scheduler_{path.stem}", path)
    assert spec is not None and spec.loader is not None, "a path that ends in .py has a loader"
    module = module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise BadWorkload(f"{path}: the file cannot be run: {type(error).__name__}: {error}") from error
    decide = getattr(module, function, None)
    if not callable(decide):
        raise BadWorkload(f"{path} has no function {function!r}; define {function}(state, now)")
    return _OwnScheduler(f"{path.name}:{function}", "one of your own", "", ServerLimits(), decide)


@dataclass(frozen=True, slots=True)
class _OwnScheduler(SchedulerEntry):
    """A scheduler of a user's own file."""

    function: Any = None

    @property
    def decide(self) -> Decide:
        found: Decide = self.function
        return found
