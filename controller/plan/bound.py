"""Ops with numbers for their open sizes: what checks, cost models and nodes see."""

from __future__ import annotations

from dataclasses import dataclass

from controller.plan.ops import Kernel, OpAttribute, View
from controller.plan.size import Affine, Bindings, bind_size
from node.hardware.operation import ITEM_BYTES, Attributes, AttributeValue, Demand, Operation, TensorType
from node.hardware.operations import complete_attributes, operation


def bind_attribute(value: OpAttribute, bindings: Bindings) -> AttributeValue:
    """An attribute with its open sizes replaced by numbers."""
    if isinstance(value, Affine):
        return bind_size(value, bindings)
    if isinstance(value, tuple):
        return tuple(bind_size(item, bindings) for item in value)
    return value


def tensor_type(view: View, bindings: Bindings) -> TensorType:
    """Shape and element type of a view with numbers."""
    if view.shape is view.buffer.shape:
        return TensorType(view.buffer.shape, view.buffer.dtype)
    return TensorType(tuple(bind_size(extent, bindings) for extent in view.shape), view.buffer.dtype)


def view_bytes(view: View, bindings: Bindings) -> int:
    """Size of a view [bytes]."""
    total = ITEM_BYTES[view.buffer.dtype]
    for extent in view.shape:
        total *= bind_size(extent, bindings)
    return total


def is_open(kernel: Kernel) -> bool:
    """Whether any shape or attribute of the kernel waits for a binding (offsets do not change what it costs)."""
    for value in kernel.attributes.values():
        if isinstance(value, Affine):
            return True
        if isinstance(value, tuple) and any(isinstance(item, Affine) for item in value):
            return True
    for view in (*kernel.inputs, *kernel.outputs):
        if view.shape is not view.buffer.shape and any(isinstance(extent, Affine) for extent in view.shape):
            return True
    return False


def has_open_size(view: View) -> bool:
    """Whether the size of the view waits for a binding."""
    return any(isinstance(extent, Affine) for extent in view.shape)


@dataclass(frozen=True, slots=True)
class BoundKernel:
    """A launch with numbers for its open sizes.

    Attributes:
        entry: of the operation table.
        inputs, outputs: types of the operands.
        attributes: all of the operation, defaults too.
    """

    entry: Operation
    inputs: tuple[TensorType, ...]
    outputs: tuple[TensorType, ...]
    attributes: Attributes

    @property
    def form(self) -> tuple[object, ...]:
        """What decides whether the operation takes the launch, and what work it is: equal for equal launches."""
        return self.entry.name, self.inputs, self.outputs, tuple(sorted(self.attributes.items()))

    def check(self) -> None:
        """Checks operands and attributes against the operation table.

        Raises:
            UserInput: a shape, a type or an attribute that the operation does not take.
        """
        self.entry.check(self.inputs, self.outputs, self.attributes)

    def demand(self) -> Demand:
        """The work of the launch."""
        return self.entry.demand(self.inputs, self.outputs, self.attributes)


def bind_kernel(kernel: Kernel, bindings: Bindings) -> BoundKernel:
    """`kernel` with numbers for its open sizes; the operation table decides what it is."""
    entry = operation(kernel.op)
    attributes = complete_attributes(
        entry, {name: bind_attribute(value, bindings) for name, value in kernel.attributes.items()}
    )
    inputs = tuple([tensor_type(view, bindings) for view in kernel.inputs])
    outputs = tuple([tensor_type(view, bindings) for view in kernel.outputs])
    return BoundKernel(entry, inputs, outputs, attributes)
