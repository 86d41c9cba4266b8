"""The feed-forward parts of a layer: dense and gated; the shape of a model chooses one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from controller.models.shape import ModelShape
from controller.plan.script import Script, Source, Value


class Projecting(Protocol):
    """What a feed-forward needs of its layer."""

    @property
    def shape(self) -> ModelShape:
        """Of the model."""

    def linear(self, s: Script, name: str, x: Source, label: str) -> Value:
        """The projection of that name."""


FeedForward = Callable[[Script, Projecting, Value], Value]


def dense(s: Script, layer: Projecting, x: Value) -> Value:
    """up, activation, down."""
    up = layer.linear(s, "up", x, "ffn")
    return layer.linear(s, "down", s.op("activation", up, kind=layer.shape.activation), "ffn")


def gated(s: Script, layer: Projecting, x: Value) -> Value:
    """gate and up, activated gate times up, down."""
    gate, up = layer.linear(s, "gate", x, "ffn"), layer.linear(s, "up", x, "ffn")
    return layer.linear(s, "down", s.op("gated_activation", gate, up, kind=layer.shape.activation), "ffn")


def feed_forward_of(shape: ModelShape) -> FeedForward:
    """The feed-forward of the layers of `shape`."""
    return gated if shape.gated else dense
