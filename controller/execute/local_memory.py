"""Buffers as tensors of this process, and the ops of plans on them, with the kernels that nodes have."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from math import nan, prod
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from controller.errors import KernelFailed
from controller.plan.bound import bind_kernel
from controller.plan.extents import describe
from controller.plan.ops import Alloc, Buffer, Free, Kernel, Plan, Transfer, View
from controller.plan.size import Bindings, bind_size
from controller.program.run import Array
from node.errors import DtypeMismatch, NodeError, ShapeMismatch
from node.hardware.operation import ITEM_BYTES
from node.hardware.operations import complete_attributes, operation

if TYPE_CHECKING:
    from torch import Tensor

_BITS = {"bf16": "uint16", "fp8": "uint8"}
"""Element types that numpy lacks, and the unsigned integers that a program sees instead, as from a node."""


class LocalMemory:
    """Buffers as tensors of this process, and the ops of plans on them.

    What nobody wrote is not a number in floating-point buffers and -1 in integer ones, so that an op that reads it
    shows in the values.

    Attributes:
        read_bytes, written_bytes: what transfers have taken out of and put into every tier [bytes].
        passing: is given every transfer with its bytes, and may change them; None for nobody.
    """

    def __init__(self, *, blank: float = nan, backwards: bool = False) -> None:
        """Makes an empty memory.

        Args:
            blank: what buffers that were declared as written hold before somebody writes them.
            backwards: run the ops of a plan in the order that is furthest from program order among those that its
                edges allow, so that a missing edge shows in the values.
        """
        self.blank, self.backwards = blank, backwards
        self.read_bytes: dict[tuple[str, str], int] = {}
        self.written_bytes: dict[tuple[str, str], int] = {}
        self.passing: Callable[[Transfer, NDArray[np.uint8]], None] | None = None
        self._tensors: dict[Buffer, Tensor] = {}
        self._checked: dict[object, None] = {}

    @property
    def buffers(self) -> tuple[Buffer, ...]:
        """Every buffer that is there, in the order of allocation."""
        return tuple(self._tensors)

    def place(self, buffer: Buffer, content: Array | None = None, *, written: bool = False) -> None:
        """Allocates `buffer`; with `written` and no content it holds `blank`."""
        import torch

        from node.compute.dtypes import torch_dtype

        tensor = self._tensors[buffer] = torch.empty(buffer.shape, dtype=torch_dtype(buffer.dtype))
        if content is not None:
            self.write(buffer, content)
        else:
            _fill(tensor, self.blank if written else nan)

    def release(self, buffer: Buffer) -> None:
        """Forgets `buffer`."""
        del self._tensors[buffer]

    def write(self, buffer: Buffer, content: Array) -> None:
        """Replaces what `buffer` holds.

        Args:
            buffer: where.
            content: as many elements of the buffer's type; for bf16 either its bits (uint16) or fp32, rounded to
                nearest even.

        Raises:
            DtypeMismatch, ShapeMismatch: content of another type or size.
        """
        import torch

        tensor = self._tensors[buffer]
        if content.size != tensor.numel():
            raise ShapeMismatch(
                f"{buffer} has the shape {buffer.shape}, its content {content.shape}; give it {tensor.numel()} elements"
            )
        if buffer.dtype == "bf16" and content.dtype == np.float32:
            rounded = torch.from_numpy(np.array(content)).to(torch.bfloat16)
            tensor.copy_(rounded.reshape(buffer.shape))
            return
        there = _as_numpy(tensor, buffer.dtype)
        if content.dtype != there.dtype:
            raise DtypeMismatch(
                f"{buffer} holds {buffer.dtype}, written as {there.dtype}; the array is {content.dtype}; "
                f"convert it first"
            )
        np.copyto(there.reshape(-1), content.reshape(-1))

    def read(self, what: Buffer | View) -> Array:
        """A copy of the values of a buffer or view; bf16 and fp8 as their bits."""
        view = what.view() if isinstance(what, Buffer) else what
        return _as_numpy(self._tensor(view, {}), view.buffer.dtype).copy()

    def run(self, plan: Plan, bindings: Bindings) -> None:
        """Carries out the ops of `plan` one after the other.

        Raises:
            KernelFailed: operands that an operation refuses, or values that it cannot take.
        """
        for index in _backwards(plan) if self.backwards else range(len(plan.ops)):
            op = plan.ops[index]
            if isinstance(op, Kernel):
                try:
                    self._launch(op, bindings)
                except NodeError as error:
                    text = f"plan {plan.name!r}, {describe(op)} at {op.device}: {type(error).__name__}: {error}"
                    raise KernelFailed(text, op.device, plan.name, describe(op)) from error
            elif isinstance(op, Transfer):
                self._move(op, bindings)
            elif isinstance(op, Alloc):
                self.place(op.buffer)
            else:
                assert isinstance(op, Free)
                self.release(op.buffer)

    def _launch(self, op: Kernel, bindings: Bindings) -> None:
        from node.compute.kernels import run

        bound = bind_kernel(op, bindings)
        if bound.form not in self._checked:
            bound.check()
            self._checked[bound.form] = None
        sources, results = ([self._tensor(view, bindings) for view in views] for views in (op.inputs, op.outputs))
        run(op.op, sources, results, bound.attributes)

    def _move(self, op: Transfer, bindings: Bindings) -> None:
        """Copies bytes, whatever the types at both ends; several sources are added up on the way."""
        from node.compute.kernels import run

        sources = [self._tensor(view, bindings) for view in op.sources]
        targets = [self._tensor(view, bindings) for view in op.destinations]
        _count(self.read_bytes, op.sources, sources)
        _count(self.written_bytes, op.destinations, targets)
        moved = sources[0]
        if len(sources) > 1:
            moved = sources[0].clone().reshape(-1)
            attributes = complete_attributes(operation("reduce"), {"kind": op.reduction})
            run("reduce", [source.reshape(-1) for source in sources], [moved], attributes)
        moved = _as_bytes(moved).clone()  # both ends may lie in one buffer
        if self.passing is not None:
            self.passing(op, moved.numpy())
        for target in targets:
            _as_bytes(target).copy_(moved)

    def _tensor(self, view: View, bindings: Bindings) -> Tensor:
        whole = self._tensors[view.buffer]
        if view.shape is view.buffer.shape and not view.offset_bytes:
            return whole
        shape = tuple(bind_size(extent, bindings) for extent in view.shape)
        start = bind_size(view.offset_bytes, bindings) // ITEM_BYTES[view.buffer.dtype]
        return whole.view(-1)[start : start + prod(shape)].view(shape)


def _fill(tensor: Tensor, value: float) -> None:
    """Fills with `value`; of what has no such number, every bit is set: -1, or what is not a number."""
    import torch

    if tensor.dtype == torch.bool:
        tensor.fill_(value != 0)
    elif tensor.is_floating_point() and tensor.element_size() > 1:
        tensor.fill_(value)
    elif value != value:
        _as_bytes(tensor).fill_(255)
    else:
        tensor.copy_(torch.full(tensor.shape, value).to(tensor.dtype))


def _as_bytes(tensor: Tensor) -> Tensor:
    import torch

    return tensor.view(-1).view(torch.uint8)


def _as_numpy(tensor: Tensor, dtype: str) -> Array:
    """The same memory as an array."""
    import torch

    array: Array = (tensor.view(getattr(torch, _BITS[dtype])) if dtype in _BITS else tensor).numpy()
    return array


def _count(into: dict[tuple[str, str], int], views: Iterable[View], tensors: Iterable[Tensor]) -> None:
    for view, tensor in zip(views, tensors, strict=True):
        key = view.buffer.device, view.buffer.tier
        into[key] = into.get(key, 0) + tensor.nbytes


def _backwards(plan: Plan) -> list[int]:
    """The ops of a plan from the last that may run to the first, as far as its edges allow."""
    missing = [len(set(after)) for after in plan.after]
    followers: list[list[int]] = [[] for _ in plan.ops]
    for index, after in enumerate(plan.after):
        for before in set(after):
            followers[before].append(index)
    ready = [index for index, count in enumerate(missing) if count == 0]
    order: list[int] = []
    while ready:
        order.append(ready.pop(ready.index(max(ready))))
        for index in followers[order[-1]]:
            missing[index] -= 1
            if missing[index] == 0:
                ready.append(index)
    return order
