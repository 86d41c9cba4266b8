"""Projections of a model, forward and backward."""

from __future__ import annotations

from controller.models.norm import Fetched, Weights
from controller.models.quantization import PACKED, Quantization
from controller.plan.ops import View
from controller.plan.script import Script, Source, Value


def linear(
    s: Script, weights: Fetched, name: str, x: Source, label: str, out: Source | None = None,
    quantization: Quantization | None = None, dtype: str = "",
) -> Value:  # fmt: skip
    """The projection `name` of `x`, with its bias where it has one.

    Args:
        s: takes the ops.
        weights: of the layer.
        name: of the projection.
        x: what is projected; what `rounded` made of it will do where the weight is packed.
        label: of the op.
        out: where the result goes; None for a new value.
        quantization: of the model, which says how packed weights are to be read.
        dtype: of the result where `x` was rounded.
    """
    weight, bias = weights[f"{name}.weight"], weights.get(f"{name}.bias")
    return multiplied(s, weight, x, label, () if bias is None else (bias,), out, quantization, dtype)


def multiplied(
    s: Script, weight: Source, x: Source, label: str, bias: tuple[Source, ...] = (), out: Source | None = None,
    quantization: Quantization | None = None, dtype: str = "",
) -> Value:  # fmt: skip
    """`x` times the transpose of `weight`, whether that is packed or not; arguments as of `linear`."""
    if type_of(weight) != PACKED or quantization is None:
        return s.op("linear", x, weight, *bias, out=out, label=label)
    if type_of(x) != PACKED:
        dtype = type_of(x)
    x = rounded(s, x, weight, quantization)
    return s.op(
        "packed_linear", x, weight, *bias, out=out, label=label, format=quantization.packed.text, result=dtype,
        scales=quantization.scales,
    )  # fmt: skip


def rounded(s: Script, x: Source, weight: Source, quantization: Quantization | None) -> Source:
    """`x` rounded to 8 bits where products with `weight` take it so, else unchanged."""
    if quantization is None or not quantization.activations or type_of(weight) != PACKED or type_of(x) == PACKED:
        return x
    kind = "fp8" if quantization.kind == "fp8" else "int"
    return s.op("round_rows", x, label="quantise activations", scales=quantization.activations, kind=kind)


def type_of(source: Source) -> str:
    """Element type of a value, a buffer or a view."""
    return source.buffer.dtype if isinstance(source, View) else source.dtype


def linear_backward(
    s: Script,
    weights: Fetched,
    name: str,
    x: Source,
    gradient: Source,
    gradients: Weights,
    label: str,
    added: Value | None = None,
) -> Value:
    """Gradient of `x` from that of its projection; fills those of weight and bias.

    Args:
        s: takes the ops.
        weights: of the layer.
        name: of the projection.
        x: what was projected.
        gradient: of the projection.
        gradients: of the weights, filled.
        label: of the projection.
        added: another gradient of `x`, to which this one is added.
    """
    filled = [gradients[f"{name}.{part}"] for part in ("weight", "bias") if f"{name}.{part}" in gradients]
    s.op("linear_weight_backward", x, gradient, out=filled, label=f"{label} backward")
    sums = () if added is None else (added,)
    return s.op(
        "linear_input_backward", gradient, weights[f"{name}.weight"], *sums, in_place=bool(sums),
        label=f"{label} backward",
    )  # fmt: skip
