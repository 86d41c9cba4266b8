"""Projections of a model, forward and backward."""

from __future__ import annotations

from controller.models.norm import Fetched, Weights
from controller.plan.script import Script, Source, Value


def linear(s: Script, weights: Fetched, name: str, x: Source, label: str, out: Source | None = None) -> Value:
    """The projection `name` of `x`, with its bias where it has one."""
    bias = weights.get(f"{name}.bias")
    return s.op("linear", x, weights[f"{name}.weight"], *(() if bias is None else (bias,)), out=out, label=label)


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
