"""Quantised models in plain torch: every weight rounded to what its packed row says, activations to 8 bits where asked.

What a run with packed weights is compared with: it has the same roundings and none of the packing of activations or the
kernels of the run.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from controller.models.plain import PlainDecoder
from controller.models.quantization import PACKED, Quantization, stored
from controller.models.shape import ModelShape
from controller.models.weights import Array, Weights
from node.hardware.kv_types import INT8_RANGE
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
    """A plain decoder whose weights, activations and cache are rounded as those of the run."""

    def __init__(
        self, weights: Weights, quantization: Quantization | None, kv_dtype: str = "fp32", prompt_tokens: int = 0,
        prompt_rows: int = 1,
    ) -> None:  # fmt: skip
        """Makes it.

        Args:
            weights: before rounding.
            quantization: how they and activations are rounded.
            kv_dtype: type of the cache.
            prompt_tokens: of the first pass, whose tokens attend to each other before they are cached.
            prompt_rows: rows that such a pass takes.
        """
        rounded = weights if quantization is None else RoundedWeights(weights)
        super().__init__(rounded, prompt_tokens, prompt_rows)
        self._quantization, self._kv_dtype = quantization, kv_dtype
        said = [] if quantization is None else [f"weights in {quantization.text}"]
        said += [f"a cache in {kv_dtype}"] if kv_dtype != "fp32" else []
        self.made_by = f"plain torch with {' and '.join(said)}"

    def mix_passes(
        self, layer: int, q: Tensor, held: Callable[[Callable[[Tensor], Tensor]], tuple[Tensor, Tensor]]
    ) -> Tensor:
        """The prompt over what it has just made, every later token over the cache."""
        import torch

        first = super().mix_passes(layer, q, held)
        if self._kv_dtype == "fp32":
            return first
        later = self.mix(layer, q, *held(self.cached))
        return torch.cat([first[:, : self._prompt_tokens], later[:, self._prompt_tokens :]], 1)

    def cached(self, x: Tensor) -> Tensor:
        """`x` as a cache of that type leaves it."""
        import torch

        if self._kv_dtype == "int8":
            step = INT8_RANGE / 127.0
            return (x / step).round().clamp(-127.0, 127.0) * step
        if self._kv_dtype == "fp8":
            return x.clamp(-448.0, 448.0).to(torch.float8_e4m3fn).float()
        kinds = {"bf16": torch.bfloat16, "fp16": torch.float16}
        return x.to(kinds[self._kv_dtype]).float() if self._kv_dtype in kinds else x

    def _linear(self, name: str, x: Tensor) -> Tensor:
        extents = self._names[f"{name}.weight"]
        packed = stored(self._quantization, f"{name}.weight", "fp32", extents)[0] == PACKED
        assert self._quantization is not None or not packed, "only quantised weights are packed"
        rounds = packed and self._quantization is not None
        return super()._linear(name, rounded_activations(x, self._quantization) if rounds else x)


def rounded_activations(x: Tensor, quantization: Quantization | None) -> Tensor:
    """`x` (..., k) as 8 bits with scales leave it; as it is where products take it so."""
    import torch

    if quantization is None or not quantization.activations:
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
