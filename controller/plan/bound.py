"""Ops with numbers for their open sizes: what checks, cost models and nodes see."""

from __future__ import annotations

from collections.abc import Mapping

from controller.plan.ops import Kernel, OpAttribute, View
from controller.plan.size import Affine, Bindings, bind_size
from node.hardware.operation import ITEM_BYTES, AttributeValue, TensorType


def bind_attribute(value: OpAttribute, bindings: Bindings) -> AttributeValue:
    """An attribute with its open sizes replaced by numbers."""
    if isinstance(value, Affine):
        return bind_size(value, bindings)
    if isinstance(value, tuple):
        return tuple(bind_size(item, bindings) for item in value)
    return value


def bind_attributes(attributes: Mapping[str, OpAttribute], bindings: Bindings) -> dict[str, AttributeValue]:
    """All attributes of a kernel with numbers."""
    return {name: bind_attribute(value, bindings) for name, value in attributes.items()}


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
