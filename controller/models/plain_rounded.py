"""Quantised models in plain torch: every weight rounded to what its packed row says, activations to 8 bits where asked.

What a run with packed weights is compared with: it has the same roundings and none of the packing of activations or the
kernels of the run.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from controller.models.plain import PlainDecoder
from controller.models.quantization import PACKED, Quantization, stored
from controller.models.shape import ModelShape
from controller.models.weights import Array, Weights
from node.hardware.packed import BLOCK
from node.hardware.packing import pack, unpack

if TYPE_CHECKING:
    from torch import Tensor


class RoundedWeights:
    """The weights of a model after packing and unpacking."""

    def __init__(self, weights: Weights) -> None:
        self._weights = weights

    @property
    def shape(self) -> ModelShape:
        """Of the model."""
        return self._weights.shape

    def tensor(self, name: str) -> Array:
        """The weight of that canonical name, float32."""
        whole, quantization = self._weights.tensor(name), self.shape.quantization
        if stored(quantization, name, "fp32", whole.shape)[0] != PACKED:
            return whole
        assert quantization is not None, "only quantised weights are packed"
        rows = pack(whole, quantization.packed)
        return unpack(rows.reshape(-1, rows.shape[-1]), quantization.packed, whole.shape[-1]).reshape(whole.shape)


class RoundedDecoder(PlainDecoder):
    """A plain decoder whose weights and activations are rounded as those of the run."""

    def __init__(self, weights: Weights, quantization: Quantization) -> None:
        super().__init__(RoundedWeights(weights))
        self._quantization = quantization
        self.made_by = f"plain torch with weights in {quantization.text}"

    def _linear(self, name: str, x: Tensor) -> Tensor:
        extents = self._names[f"{name}.weight"]
        packed = stored(self._quantization, f"{name}.weight", "fp32", extents)[0] == PACKED
        return super()._linear(name, rounded_activations(x, self._quantization) if packed else x)


def rounded_activations(x: Tensor, quantization: Quantization) -> Tensor:
    """`x` (..., k) as 8 bits with scales leave it; as it is where products take it so."""
    import torch

    if not quantization.activations:
        return x
    size = BLOCK if quantization.activations == "block" else x.shape[-1]
    parts = []
    for start in range(0, x.shape[-1], size):
        part = x[..., start : start + size]
        largest = x.abs().max() if quantization.activations == "tensor" else part.abs().amax(-1, keepdim=True)
        fp8 = quantization.kind == "fp8"
        scale = (largest / (448.0 if fp8 else 127.0)).clamp(min=1e-30)
        codes = part / scale
        parts.append((codes.to(torch.float8_e4m3fn).float() if fp8 else codes.round()) * scale)
    return torch.cat(parts, -1)
