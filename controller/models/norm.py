"""The norm of a model, forward and backward."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from controller.models.shape import ModelShape
from controller.plan.build import Operand
from controller.plan.script import Script, Source, Value

Weights = Mapping[str, Operand]
"""Name within a layer, as ``q.weight``, to where the weight is, or its gradient."""
Fetched = Mapping[str, Source]
"""The same where weights may be values: those that a script has brought from elsewhere."""


def norm(s: Script, shape: ModelShape, weights: Fetched, name: str, x: Source, out: Source | None = None) -> Value:
    """Layer norm or RMS norm of `x`, as the shape says."""
    bias = (weights[f"{name}.bias"],) if shape.norm == "layer" else ()
    return s.op(f"{shape.norm}_norm", x, weights[f"{name}.weight"], *bias, out=out, **_attributes(shape))


def norm_backward(
    s: Script, shape: ModelShape, weights: Fetched, name: str, x: Source, gradient: Source, gradients: Weights
) -> Value:
    """Gradient of the norm of `x` from that of its result; fills those of its weights."""
    filled = [gradients[f"{name}.{part}"] for part in ("weight", "bias") if f"{name}.{part}" in gradients]
    return s.op(
        f"{shape.norm}_norm_backward", x, weights[f"{name}.weight"], gradient, out=(None, *filled), **_attributes(shape)
    )


def _attributes(shape: ModelShape) -> dict[str, Any]:
    return {"eps": shape.norm_eps} | ({"offset": shape.norm_offset} if shape.norm == "rms" else {})
