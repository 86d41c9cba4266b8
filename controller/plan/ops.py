"""The four ops of a plan and what they act on.

A `Plan` is a DAG: ``plan.ops[i]`` may start when every op of ``plan.after[i]`` has ended and its queue has come to it.
It opens no socket, reads no clock and moves no byte. `build.py` derives the edges from what ops read and write.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import prod
from typing import Any

from controller.plan.size import Affine, Size
from node.hardware.operation import ITEM_BYTES


@dataclass(frozen=True, slots=True)
class Buffer:
    """A named tensor in one tier of one device; its identity is (device, tier, name)."""

    device: str
    tier: str
    name: str
    dtype: str = field(hash=False)
    shape: tuple[int, ...] = field(hash=False)

    @property
    def nbytes(self) -> int:
        """Size [bytes]."""
        return ITEM_BYTES[self.dtype] * prod(self.shape)

    def view(self) -> View:
        """The whole buffer."""
        return View(self, 0, self.shape)

    def rows(self, start: int, stop: int) -> View:
        """Rows ``start:stop`` of the first axis, which is one range of bytes."""
        row_bytes = self.nbytes // self.shape[0]
        return View(self, start * row_bytes, (stop - start, *self.shape[1:]))

    def __str__(self) -> str:
        return f"{self.device}.{self.tier}/{self.name}"


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
        device: where it runs; every operand lies in a tier of this device.
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
        path: "" for DMA; ``pageable`` for a copy through pageable host memory (the port's measured limit applies).
        rate_limit_bytes_per_s: further limit of a software path with a source, 0 for none [bytes/s].
        label: what reports group by; "" means ``transfer``.
    """

    sources: tuple[View, ...]
    destinations: tuple[View, ...]
    reduction: str = ""
    queue: str = ""
    path: str = ""
    rate_limit_bytes_per_s: float = 0.0
    label: str = ""


@dataclass(frozen=True, slots=True)
class Alloc:
    """Takes `buffer` out of its tier's capacity. With `wait`, after the earliest frees that make room."""

    buffer: Buffer
    wait: bool = False


@dataclass(frozen=True, slots=True)
class Free:
    """Gives `buffer` back to its tier."""

    buffer: Buffer


Op = Kernel | Transfer | Alloc | Free


@dataclass(frozen=True)
class Plan:
    """A DAG of ops.

    Attributes:
        name: for reports and errors.
        ops: in the order in which they were added, which is a topological order.
        after: for each op the indices of the ops that must have ended before it starts.
        parameters: symbols that `bindings` must give.
    """

    name: str
    ops: tuple[Op, ...]
    after: tuple[tuple[int, ...], ...]
    parameters: frozenset[str] = frozenset()
    cache: dict[str, Any] = field(default_factory=dict, init=False, repr=False, compare=False)
    """What was found out about this very plan, by whoever did; never part of its meaning, and empty in a copy."""
