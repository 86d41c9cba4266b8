"""What a script notes down: its ops over values, and what is known of every value."""

from __future__ import annotations

from dataclasses import dataclass

from controller.plan.author import Line
from controller.plan.ops import OpAttribute, View
from controller.plan.value import Place, Value

Operand = Value | View
ArenaKey = tuple[Place, str, int | str]
"""Place, element type, and micro-batch or name of an arena."""


@dataclass(slots=True)
class Made:
    """One value.

    Attributes:
        arena: that it lies in.
        nbytes: its size, with open extents at their bounds [bytes].
        is_open: an extent is open, so that it gets a buffer of its own.
        first, last: indices of the ops that make it and up to which it keeps its address.
        line: that made it, of a strategy; None where windtunnel itself did.
        spare: may stay unused, as a further result of an op.
        used: an op reads it.
        parted: ops read or write parts of it.
        partial: a part that no op fills may be read, since its content does not matter.
    """

    arena: ArenaKey
    nbytes: int
    is_open: bool
    first: int
    last: int
    line: Line | None
    spare: bool = False
    used: bool = False
    parted: bool = False
    partial: bool = False


@dataclass(slots=True)
class Launch:
    """A kernel over values; the fields are those of `Kernel`, `in_place` of `Script.op`, and the line that wrote it."""

    op: str
    device: str
    inputs: tuple[Operand, ...]
    outputs: tuple[Operand, ...]
    attributes: dict[str, OpAttribute]
    queue: str
    label: str
    after: tuple[int, ...]
    in_place: bool
    line: Line | None = None


@dataclass(slots=True)
class Move:
    """A transfer over values; the fields are those of `Transfer`, and the line that wrote it."""

    inputs: tuple[Operand, ...]
    outputs: tuple[Operand, ...]
    reduction: str
    queue: str
    path: str
    rate_limit_bytes_per_s: float
    label: str
    after: tuple[int, ...]
    connection: str = ""
    line: Line | None = None
