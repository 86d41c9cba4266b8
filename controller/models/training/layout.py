"""Parameters of a model as flat parts: one buffer a layer, in which every tensor is a view under its canonical name.

A part is what a strategy moves at once: the embedding, a layer, the head. Gradients, fp32 parameters and both moments
of Adam have the layout of their part, so that one range of bytes means the same tensor in all of them.

Within a layer the weights of q, k and v lie side by side, and so do their biases: one matrix product makes all three.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt

from controller.models.shape import ModelShape, layer_shapes, weight_shapes
from controller.plan.build import Operand, as_view
from controller.plan.ops import Buffer, View
from node.hardware.operation import ITEM_BYTES

Array = npt.NDArray[Any]

FUSED = {"qkv.weight": ("q.weight", "k.weight", "v.weight"), "qkv.bias": ("q.bias", "k.bias", "v.bias")}
"""Views over neighbours: what one matrix product takes."""


@dataclass(frozen=True)
class FlatLayout:
    """Tensors one after the other in one flat buffer, without gaps.

    Attributes:
        shapes: name to shape, in the order of the buffer.
        starts: name to index of the first element; names of `FUSED` too, where their parts are there.
        elements: of all tensors together.
    """

    shapes: Mapping[str, tuple[int, ...]]
    starts: Mapping[str, int]
    elements: int

    def nbytes(self, dtype: str) -> int:
        """Size of the buffer with elements of `dtype` [bytes]."""
        return self.elements * ITEM_BYTES[dtype]

    def buffer(self, device: str, tier: str, name: str, dtype: str) -> Buffer:
        """A flat buffer (elements) for this layout."""
        return Buffer(device, tier, name, dtype, (self.elements,))

    def has(self, name: str) -> bool:
        """Whether `name` is a tensor here, or a view over neighbours."""
        return name in self.starts

    def shape_of(self, name: str) -> tuple[int, ...]:
        """Shape of a tensor, or of a view over neighbours."""
        if name in self.shapes:
            return self.shapes[name]
        parts = [self.shapes[part] for part in FUSED[name]]
        return (sum(part[0] for part in parts), *parts[0][1:])

    def view(self, flat: Operand, name: str) -> View:
        """The tensor `name` within `flat`, a flat buffer or a view of as many elements."""
        whole = as_view(flat)
        item = ITEM_BYTES[whole.buffer.dtype]
        return View(whole.buffer, whole.offset_bytes + self.starts[name] * item, self.shape_of(name))

    def tensors(self, flat: Operand) -> dict[str, View]:
        """Every tensor within `flat` by name, views over neighbours too."""
        return {name: self.view(flat, name) for name in self.starts}

    def pack(self, tensor: Callable[[str], Array], dtype: Any = np.float32) -> Array:
        """The content of a flat buffer (elements); `tensor` gives the values of a name of this layout."""
        content = np.empty(self.elements, dtype)
        for name, shape in self.shapes.items():
            start = self.starts[name]
            content[start : start + prod(shape)] = np.asarray(tensor(name), dtype).reshape(-1)
        return content

    def unpack(self, flat: Array) -> dict[str, Array]:
        """Name to tensor, out of the content of a flat buffer (elements)."""
        values = np.asarray(flat).reshape(-1)
        return {
            name: values[self.starts[name] : self.starts[name] + prod(shape)].reshape(shape)
            for name, shape in self.shapes.items()
        }


@dataclass(frozen=True)
class Part:
    """One flat part of a model.

    Attributes:
        name: ``embedding``, ``layers.0``, ..., ``head``.
        prefix: what canonical names (`controller.models.shape.weight_shapes`) have before the names of the layout.
        layout: where its tensors lie.
        layer: number of the layer, None for the two ends.
    """

    name: str
    prefix: str
    layout: FlatLayout
    layer: int | None = None

    def content(self, tensor: Callable[[str], Array]) -> Array:
        """Flat float32 content (elements); `tensor` gives values by canonical name (`Weights.tensor`)."""
        return self.layout.pack(lambda name: tensor(self.prefix + name))

    def named(self, flat: Array) -> dict[str, Array]:
        """Canonical name to tensor, out of the content of a flat buffer (elements)."""
        return {self.prefix + name: values for name, values in self.layout.unpack(flat).items()}


@lru_cache(maxsize=64)
def layer_layout(shape: ModelShape) -> FlatLayout:
    """The layout of every layer of `shape`."""
    return _flat(_neighbours(layer_shapes(shape)))


@lru_cache(maxsize=64)
def embedding_layout(shape: ModelShape) -> FlatLayout:
    """The layout of the embedding: token table, and positions where they are learned."""
    everything = weight_shapes(shape)
    return _flat({name: everything[name] for name in ("embed", "positions") if name in everything})


@lru_cache(maxsize=64)
def head_layout(shape: ModelShape) -> FlatLayout:
    """The layout of the end: final norm, and the matrix of the logits unless it is the token table."""
    return _flat(
        {name: extents for name, extents in weight_shapes(shape).items() if name.startswith(("final_norm", "head"))}
    )


def parts(shape: ModelShape) -> tuple[Part, ...]:
    """Every part of the model, in the order of a forward pass."""
    layout = layer_layout(shape)
    return (
        Part("embedding", "", embedding_layout(shape)),
        *(Part(f"layers.{layer}", f"layers.{layer}.", layout, layer) for layer in range(shape.layers)),
        Part("head", "", head_layout(shape)),
    )


def _neighbours(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, tuple[int, ...]]:
    """The same names with q, k and v side by side."""
    ordered: dict[str, tuple[int, ...]] = {}
    for name, extents in shapes.items():
        if name == "q.weight":
            for parts_of in FUSED.values():
                ordered.update({part: shapes[part] for part in parts_of if part in shapes})
        else:
            ordered.setdefault(name, extents)
    return ordered


def _flat(shapes: Mapping[str, tuple[int, ...]]) -> FlatLayout:
    starts: dict[str, int] = {}
    elements = 0
    for name, extents in shapes.items():
        starts[name] = elements
        elements += prod(extents)
    for fused, members in FUSED.items():
        if members[0] in starts:
            starts[fused] = starts[members[0]]
    return FlatLayout(dict(shapes), starts, elements)
