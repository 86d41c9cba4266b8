"""What a captured rank did, read from its log."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

Event = list[Any]


@dataclass(frozen=True, slots=True)
class TensorOperand:
    """A tensor of a call.

    Attributes:
        shape: extents.
        dtype: element type, as the operation table names it, or as torch does.
        elements: that lie in memory: an expanded axis holds one.
        is_contiguous: whether they lie in order.
    """

    shape: tuple[int, ...]
    dtype: str
    elements: int
    is_contiguous: bool


@dataclass(frozen=True)
class CallSignature:
    """An operation with its operands: calls of one signature take the same time.

    Attributes:
        name: of torch: ``aten.mm.default``.
        inputs, outputs: tensors, in order.
        values: numbers and texts among the arguments, by position or name.
    """

    name: str
    inputs: tuple[TensorOperand, ...]
    outputs: tuple[TensorOperand, ...]
    values: tuple[tuple[int | str, Any], ...]

    def value(self, key: int | str, default: Any = None) -> Any:
        """An argument by position or name."""
        return next((value for name, value in self.values if name == key), default)


@dataclass(frozen=True)
class RankTrace:
    """The log of one rank; see `controller.capture.inside.log` for the events.

    Attributes:
        rank: whose it is.
        events: in the order in which the host asked.
        signatures: that ``kernel`` events number.
        groups: name of a process group to its global ranks.
        descriptions: name of a process group to what the program calls it.
        priorities: of streams beside the default one, by number.
        notes: for the user.
        ended: what stopped the program before its steps were done; "" for nothing.
        traceback: of the exception that did.
        steps: that were done.
    """

    rank: int
    events: list[Event]
    signatures: tuple[CallSignature, ...]
    groups: dict[str, tuple[int, ...]]
    descriptions: dict[str, str]
    priorities: dict[int, int]
    notes: tuple[str, ...]
    ended: str
    traceback: str
    steps: int

    @cached_property
    def step_ends(self) -> tuple[int, ...]:
        """Index of the event that ends each step."""
        return tuple(index for index, event in enumerate(self.events) if event[0] == "step")

    def step(self, number: int) -> list[Event]:
        """Events of a step, counted from 0; those of step 0 include the start of the program."""
        first = self.step_ends[number - 1] + 1 if number else 0
        return self.events[first : self.step_ends[number] + 1]

    @cached_property
    def peers(self) -> tuple[int, ...]:
        """Global ranks that this one sends to or receives from."""
        found = {
            self.groups[event[1]][event[9]["peer"]]
            for event in self.events
            if event[0] == "collective" and "peer" in event[9]
        }
        return tuple(sorted(found))


def read_trace(path: Path) -> RankTrace:
    """The trace that a captured rank wrote."""
    whole = json.loads(path.read_text())
    return RankTrace(
        whole["rank"],
        whole["events"],
        tuple(_signature(given) for given in whole["signatures"]),
        {name: tuple(ranks) for name, ranks in whole["groups"].items()},
        whole["descriptions"],
        {int(number): priority for number, priority in whole["streams"].items()},
        tuple(whole["notes"]),
        whole["ended"],
        whole["traceback"],
        whole["steps"],
    )


def _signature(given: Any) -> CallSignature:
    name, inputs, outputs, values = given
    return CallSignature(
        name,
        tuple(TensorOperand(tuple(shape), *more) for shape, *more in inputs),
        tuple(TensorOperand(tuple(shape), *more) for shape, *more in outputs),
        tuple((key, tuple(value) if isinstance(value, list) else value) for key, value in values),
    )


def digest_of_step(trace: RankTrace, number: int) -> str:
    """A digest of what a step asked for, in order, without names that differ from step to step or rank to rank."""
    digest = hashlib.sha256()
    streams: dict[int, int] = {}
    # Arguments may hold the rank itself; shapes say what a call does.
    calls = [f"{call.name} {call.inputs} {call.outputs}" for call in trace.signatures]
    for event in trace.step(number):
        kind = event[0]
        if kind == "kernel":
            text = f"k{calls[event[1]]} {streams.setdefault(event[2], len(streams))}"
        elif kind == "collective":
            facts = {name: value for name, value in event[9].items() if name != "peer"}
            text = f"c{len(trace.groups[event[1]])} {event[2:6]} {streams.setdefault(event[7], len(streams))} {facts}"
        elif kind in ("copy", "sync", "record", "wait", "join"):
            text = f"{kind} {event[1] if kind in ('copy', 'sync') else ''}"
        else:
            continue
        digest.update(text.encode())
    return digest.hexdigest()
