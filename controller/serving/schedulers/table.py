"""The table of schedulers."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any, Final

from controller.errors import BadWorkload
from controller.nearest import nearest
from controller.serving.client_request import RequestStreamSpec
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
        preparation: ``module:function`` that orders a whole job beforehand; "" for none.
    """

    name: str
    summary: str
    target: str
    limits: ServerLimits = USUAL_LIMITS
    preparation: str = ""

    def prepare(self, stream: RequestStreamSpec) -> RequestStreamSpec:
        """The requests as the scheduler lays them out before anything runs."""
        if not self.preparation:
            return stream
        module, _, name = self.preparation.partition(":")
        found: RequestStreamSpec = getattr(importlib.import_module(module), name)(stream)
        return found

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
        SchedulerEntry(
            "static", "a padded batch runs until its last request has ended (FasterTransformer)",
            f"{_HERE}.static:decide", ServerLimits(64, 16384),
        ),
        SchedulerEntry(
            "orca", "whole prompts beside decodes; memory for the whole answer is reserved", f"{_HERE}.orca:decide",
            ServerLimits(16, 8192),
        ),
        SchedulerEntry(
            "hybrid", "whole prompts beside decodes over a paged cache", f"{_HERE}.orca:decide_paged",
            ServerLimits(128, 8192),
        ),
        SchedulerEntry(
            "fastgen", "passes of a fixed number of tokens out of decodes and pieces of prompts",
            f"{_HERE}.fastgen:decide", ServerLimits(128, 2048),
        ),
        SchedulerEntry(
            "vllm_priority", "priorities that change; who must leave is swapped block by block",
            f"{_HERE}.fastswitch:decide", ServerLimits(256, 2048, swap=True),
        ),
        SchedulerEntry(
            "fastswitch", "priorities that change; swaps copy groups of contiguous blocks",
            f"{_HERE}.fastswitch:decide", ServerLimits(256, 2048, swap=True, group_blocks=64),
        ),
        SchedulerEntry(
            "batchllm", "a whole job in groups that share prefixes, bounded by memory", f"{_HERE}.batchllm:decide",
            ServerLimits(4096, 2048), f"{_HERE}.batchllm:prepare",
        ),
        SchedulerEntry(
            "nanoflow", "the decisions of sarathi; nano-batches whose kernels share the devices",
            f"{_HERE}.nanoflow:decide", ServerLimits(2048, 2048),
        ),
        SchedulerEntry(
            "prefill_only", "prompts alone, packed to the length that saturates (a prefill instance)",
            f"{_HERE}.prefill_only:decide", ServerLimits(256, 512),
        ),
        SchedulerEntry(
            "decode_only", "decodes alone (a decode instance)", f"{_HERE}.decode_only:decide",
            ServerLimits(512, 2048, watermark=0.1),
        ),
        SchedulerEntry(
            "priority", "the most important request first; who is less important leaves for it",
            f"{_HERE}.priority:decide", ServerLimits(256, 2048),
        ),
        SchedulerEntry(
            "fair", "a request of the client with the least service so far (virtual token counter)",
            f"{_HERE}.fair:decide", ServerLimits(256, 2048),
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
        hint = nearest(name, SCHEDULERS)
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
    return _OwnScheduler(f"{path.name}:{function}", "one of your own", "", ServerLimits(), "", decide)


@dataclass(frozen=True, slots=True)
class _OwnScheduler(SchedulerEntry):
    """A scheduler of a user's own file."""

    function: Any = None

    @property
    def decide(self) -> Decide:
        found: Decide = self.function
        return found
