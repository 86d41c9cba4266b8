"""The feed-forward parts of a layer, dense and gated, forward and backward; the shape of a model chooses one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from controller.models.norm import Weights
from controller.models.shape import ModelShape
from controller.plan.script import Script, Source, Value


class Projecting(Protocol):
    """What a feed-forward needs from its layer."""

    @property
    def shape(self) -> ModelShape:
        """Of the model."""

    def linear(self, s: Script, name: str, x: Source, label: str, out: Source | None = None) -> Value:
        """The projection of that name."""

    def rounded(self, s: Script, name: str, x: Source) -> Source:
        """`x` as products with that weight take it."""

    def linear_backward(
        self, s: Script, name: str, x: Source, gradient: Source, gradients: Weights, label: str,
        added: Value | None = None,
    ) -> Value:  # fmt: skip
        """Gradient of `x` from that of its projection; fills those of the weights."""

    def whole(self, s: Script, gradient: Value) -> Value:
        """The gradient of the normed stream, over all ranks."""


class Activated(Protocol):
    """Activations by name, made when they are asked for."""

    def __getitem__(self, name: str) -> Source:
        """The activation of that name."""


@dataclass(frozen=True, slots=True)
class FeedForward:
    """Projections side by side, an elementwise operation over them, the projection ``down``.

    Attributes:
        projections: ``up``, or ``gate`` and ``up``; their activations have the same names.
        operation: makes ``act`` of them; its backward has the same name with ``_backward``.
    """

    projections: tuple[str, ...]
    operation: str

    def forward(self, s: Script, layer: Projecting, x: Source) -> Value:
        """The feed-forward of the normed `x`."""
        x = layer.rounded(s, self.projections[0], x)
        return self.down(s, layer, self.activate(s, layer, [self.project(s, layer, n, x) for n in self.projections]))

    def project(self, s: Script, layer: Projecting, name: str, x: Source, out: Source | None = None) -> Value:
        """One of `projections` of the normed `x`."""
        return layer.linear(s, name, x, "ffn", out)

    def activate(
        self, s: Script, layer: Projecting, projected: Sequence[Source], out: Source | None = None
    ) -> Value:  # fmt: skip
        """``act`` of all projections."""
        return s.op(self.operation, *projected, out=out, in_place=True, kind=layer.shape.activation)

    def down(self, s: Script, layer: Projecting, act: Source, out: Source | None = None) -> Value:
        """Projection of ``act`` to the width of the stream."""
        return layer.linear(s, "down", act, "ffn", out)

    def backward(self, s: Script, layer: Projecting, there: Activated, gradient: Source, gradients: Weights) -> Value:
        """Gradient of the normed input from that of the feed-forward; fills those of the weights."""
        d_act = layer.linear_backward(s, "down", there["act"], gradient, gradients, "ffn")
        projected = [there[name] for name in self.projections]
        kind = layer.shape.activation
        each = s.results(f"{self.operation}_backward", *projected, d_act, in_place=True, kind=kind)
        normed, made = there["ffn_norm"], None
        for name, d_projected in zip(self.projections, each, strict=True):
            made = layer.linear_backward(s, name, normed, d_projected, gradients, "ffn", made)
        assert made is not None, "there is a projection"
        return layer.whole(s, made)


DENSE = FeedForward(("up",), "activation")
GATED = FeedForward(("gate", "up"), "gated_activation")


def feed_forward_of(shape: ModelShape) -> FeedForward:
    """The feed-forward of the layers of `shape`."""
    return GATED if shape.gated else DENSE
