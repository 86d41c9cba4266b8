"""The four ops of a plan and what they act on.

A `Plan` is a DAG: ``plan.ops[i]`` may start when every op of ``plan.after[i]`` has ended and its queue has come to it.
It opens no socket, reads no clock and moves no byte. `build.py` derives the edges from what ops read and write.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from math import prod

from controller.errors import BadPlan
from controller.plan.size import Affine, Size
from node.hardware.operation import ITEM_BYTES

MAX_NAME_LENGTH = 160
"""Longest name of a buffer [characters]; with its tier it must stay within what a node takes."""
MAX_RANK = 8
"""Most axes of a buffer."""
_NAME = re.compile(r"[A-Za-z0-9._/-]+\Z")


@dataclass(frozen=True, slots=True)
class Buffer:
    """A named tensor in one tier of one device; its identity is (device, tier, name).

    Raises:
        BadPlan: a name that no node takes, an unknown dtype, or extents that are no whole numbers of at least 0.
    """

    device: str
    tier: str
    name: str
    dtype: str = field(hash=False)
    shape: tuple[int, ...] = field(hash=False)

    def __post_init__(self) -> None:
        # Strategies are users' code, which no type checker has seen.
        name: object = self.name
        dtype: object = self.dtype
        shape: object = self.shape
        if not isinstance(name, str) or not _NAME.match(name) or len(name) > MAX_NAME_LENGTH or not _stays_inside(name):
            raise BadPlan(
                f"buffer name {name!r} on {self.device} is not allowed: use up to {MAX_NAME_LENGTH} letters, digits "
                f"and ._-/ without '..', and no '/' at an end"
            )
        if not isinstance(dtype, str) or dtype not in ITEM_BYTES:
            raise BadPlan(f"buffer {self} has the unknown dtype {self.dtype!r}; known are {', '.join(ITEM_BYTES)}")
        if not isinstance(shape, tuple) or len(shape) > MAX_RANK:
            raise BadPlan(f"buffer {self} has the shape {shape!r}; write a tuple of at most {MAX_RANK} whole numbers")
        for extent in shape:
            if not isinstance(extent, int) or isinstance(extent, bool) or extent < 0:
                raise BadPlan(
                    f"buffer {self} has the shape {shape!r}; every extent is a whole number (int) of 0 or more"
                )

    @property
    def nbytes(self) -> int:
        """Size [bytes]."""
        return ITEM_BYTES[self.dtype] * prod(self.shape)

    def view(self) -> View:
        """The whole buffer."""
        return View(self, 0, self.shape)

    def rows(self, start: int, stop: int) -> View:
        """Rows ``start:stop`` of the first axis, which is one range of bytes."""
        if not self.shape:
            raise BadPlan(f"buffer {self} has no axis, so it has no rows {start} to {stop}")
        row_bytes = ITEM_BYTES[self.dtype] * prod(self.shape[1:])
        return View(self, start * row_bytes, (stop - start, *self.shape[1:]))

    def __str__(self) -> str:
        return f"{self.device}.{self.tier}/{self.name}"


def two_of_one_name(buffer: Buffer, other: Buffer) -> str:
    """The complaint about two buffers that only type or shape tells apart."""
    return (
        f"{buffer} is {buffer.dtype} {buffer.shape} here and {other.dtype} {other.shape} elsewhere; "
        f"give the two names of their own"
    )


def _stays_inside(name: str) -> bool:
    return not (".." in name or "//" in name or name.startswith("/") or name.endswith("/"))


@dataclass(frozen=True, slots=True)
class View:
    """One contiguous range of a buffer, read as a tensor of the buffer's dtype.

    Attributes:
        buffer: what it is a part of.
        offset_bytes: where it starts [bytes].
        shape: extents; any may be open until the plan is bound.
    """

    buffer: Buffer
    offset_bytes: Size
    shape: tuple[Size, ...]

    def reshape(self, *shape: int) -> View:
        """The same bytes under another shape."""
        return View(self.buffer, self.offset_bytes, shape)


OpAttribute = int | float | str | bool | Affine | tuple[int | Affine, ...]


@dataclass(frozen=True, slots=True)
class Kernel:
    """One launch of an operation of the table on one device.

    Attributes:
        op: name in `node.hardware.operations.OPERATIONS`.
        device: where it runs; every operand lies in a tier of this device, or of what it reaches by load and store
            (`controller.topology.load_store`).
        inputs, outputs: operands in the order of the table.
        attributes: of the operation; any integer may be open.
        queue: in-order queue of the device; "" is its first compute queue.
        label: what reports group by; "" means the op's name.
    """

    op: str
    device: str
    inputs: tuple[View, ...]
    outputs: tuple[View, ...]
    attributes: Mapping[str, OpAttribute] = field(default_factory=dict)
    queue: str = ""
    label: str = ""


@dataclass(frozen=True, slots=True)
class Transfer:
    """Bytes from a tier to a tier, of one device or of two. The source's node carries it out.

    Attributes:
        sources, destinations: of equal size in bytes; several destinations are a multicast, several sources need
            a `reduction`.
        reduction: "" or ``sum``, ``max``, ``min``.
        queue: in-order copy queue of the source device; "" lets it start as soon as its edges allow.
        path: "" for DMA; ``pageable`` for a copy through pageable host memory (the port's measured limit applies);
            ``absorbed`` for a copy to a CXL card into what a copy just like it wrote a moment ago, as in a benchmark:
            the last-level cache of the host takes as much as it holds.
        rate_limit_bytes_per_s: further limit of a software path with a source, 0 for none [bytes/s].
        label: what reports group by; "" means ``transfer``.
        connection: channel of a message between its two devices; messages of one (source device, destination device,
            connection) arrive in the order of the plan, over all paths that the devices have. "" for a copy that
            belongs to none. What is on a copy queue has the order of that, so it has no connection.
    """

    sources: tuple[View, ...]
    destinations: tuple[View, ...]
    reduction: str = ""
    queue: str = ""
    path: str = ""
    rate_limit_bytes_per_s: float = 0.0
    label: str = ""
    connection: str = ""


@dataclass(frozen=True, slots=True)
class Alloc:
    """Takes `buffer` out of its tier's capacity, after the earliest frees of its plan that make room."""

    buffer: Buffer


@dataclass(frozen=True, slots=True)
class Free:
    """Gives `buffer` back to its tier."""

    buffer: Buffer


Op = Kernel | Transfer | Alloc | Free


class Origin(Enum):
    """Who derived the edges of a plan, and so what is checked before it runs."""

    ANYBODY = "anybody"
    """Every access is checked against the edges."""
    BUILDER = "builder"
    """`PlanBuilder` derived them from the accesses: they are right by construction."""


@dataclass(frozen=True)
class Plan:
    """A DAG of ops.

    Attributes:
        name: for reports and errors.
        ops: in the order in which they were added, which is a topological order.
        after: for each op the indices of the ops that must have ended before it starts.
        parameters: symbols that `bindings` must give.
        lines: file and line that wrote each op, None where that is windtunnel's own; () where they are unknown.
        origin: who derived the edges. No argument of the constructor, so that a changed copy (`dataclasses.replace`)
            is not trusted unless its maker vouches for its edges with `vouched`.
    """

    name: str
    ops: tuple[Op, ...]
    after: tuple[tuple[int, ...], ...]
    parameters: frozenset[str] = frozenset()
    lines: tuple[tuple[str, int] | None, ...] = field(default=(), repr=False, compare=False)
    origin: Origin = field(default=Origin.ANYBODY, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        ops: tuple[object, ...] = self.ops
        for index, op in enumerate(ops):
            if not isinstance(op, Kernel | Transfer | Alloc | Free):
                raise BadPlan(f"plan {self.name!r}, op {index}: {op!r} is no Kernel, Transfer, Alloc or Free")


def vouched(plan: Plan, origin: Origin) -> Plan:
    """`plan` itself, just made and not yet submitted, as one whose edges come from `origin`."""
    object.__setattr__(plan, "origin", origin)
    return plan
