"""The feed-forward of layers with experts: a gate, rows sorted by expert, grouped products, and the weighted sum.

`t` tokens are t times `chosen` rows, whatever the gate chooses, so a plan never waits for data. How the rows fall on
the experts decides what a launch costs; `loads` declares it, evenly where it is empty. Where the shape has a capacity,
rows beyond that of their expert are dropped and counted in `dropped`; weights of the rest are not renormalised.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from controller.models.expert_shape import ExpertShape
from controller.models.linear import type_of
from controller.models.norm import Fetched
from controller.models.quantization import PACKED
from controller.models.shape import ModelShape
from controller.plan.script import Script, Source, Value
from controller.plan.size import product


class Weighted(Protocol):
    """What experts need from their layer."""

    @property
    def shape(self) -> ModelShape:
        """Of the model."""

    @property
    def weights(self) -> Fetched:
        """Of the layer."""

    @property
    def dtype(self) -> str:
        """Element type of activations; "" for that of the shape."""

    @property
    def loads(self) -> tuple[int, ...]:
        """Declared share of each expert; empty for even ones."""

    @property
    def dropped(self) -> Source | None:
        """Counts dropped choices of the layer, int64 (1); None where nobody asks."""

    def linear(self, s: Script, name: str, x: Source, label: str, out: Source | None = None) -> Value:
        """The projection of that name."""

    def rounded(self, s: Script, name: str, x: Source) -> Source:
        """`x` as products with that weight take it."""


@dataclass(frozen=True, slots=True)
class Experts:
    """The feed-forward of a layer with experts."""

    experts: ExpertShape

    def forward(self, s: Script, layer: Weighted, x: Value) -> Value:
        """The feed-forward of the normed `x` (..., n)."""
        flat = x.reshape(product(x.shape[:-1]), layer.shape.hidden)
        weights, chosen = self.choose(s, layer, flat)
        capacity = self._capacity(flat)
        counted = (layer.dropped,) if capacity and layer.dropped is not None else ()
        rows, order, ends, *_ = s.results(
            "expert_rows", flat, chosen, *counted, label="experts", count=self.experts.count, **_bound(capacity),
            out=[None, None, None, *counted] if counted else None,
        )  # fmt: skip
        made = s.op("expert_sum", self.fed(s, layer, rows, ends, capacity), order, weights, label="experts")
        return self.with_shared(s, layer, flat, made).reshape(*x.shape)

    def choose(self, s: Script, layer: Weighted, flat: Value) -> tuple[Source, Source]:
        """Weights and numbers of the experts of every token, (t, k) each."""
        e = self.experts
        bias = (layer.weights["router_choice.bias"],) if e.choice_bias else ()
        weights, chosen = s.results(
            "expert_gate", layer.linear(s, "router", flat, "router"), *bias, label="router", k=e.chosen, score=e.score,
            normalise=e.normalise, scale=e.scale, groups=e.groups, kept_groups=e.kept_groups, group_top=e.group_top,
        )  # fmt: skip
        return weights, chosen

    def _capacity(self, flat: Value) -> int:
        """Most of the tokens `flat` that an expert takes; 0 for no bound."""
        tokens = flat.shape[0]
        assert isinstance(tokens, int) or not self.experts.capacity_factor, "a capacity is that of a known pass"
        return self.experts.capacity(tokens) if isinstance(tokens, int) else 0

    def fed(self, s: Script, layer: Weighted, rows: Source, ends: Source, capacity: int = 0) -> Value:
        """What the experts make of rows (r, n), sorted by expert; those of expert j end before row ends[j].

        With a capacity, rows after the last end are of no expert, and zeros come of them.
        """
        taken = layer.rounded(s, "expert_gate", rows)
        gate, up = (self._grouped(s, layer, name, taken, ends, capacity) for name in ("expert_gate", "expert_up"))
        if self.experts.clamped:
            act = s.op("clamped_swiglu", gate, up, in_place=True, label="experts")
        else:
            act = s.op("gated_activation", gate, up, in_place=True, label="experts", kind=layer.shape.activation)
        return self._grouped(s, layer, "expert_down", act, ends, capacity)

    def with_shared(self, s: Script, layer: Weighted, flat: Source, made: Value) -> Value:
        """`made` (t, n) of the tokens `flat`, and what the feed-forward that they all take adds."""
        if not self.experts.shared_intermediate:
            return made
        shared = _shared(s, layer, flat)
        if self.experts.shared_gate:
            score = layer.linear(s, "shared_choice", flat, "shared expert")
            shared = s.op("gate_rows", shared, score, in_place=True, label="shared expert")
        return s.op("add", made, shared, in_place=True, label="shared expert")

    def _grouped(self, s: Script, layer: Weighted, name: str, rows: Source, ends: Source, capacity: int) -> Value:
        """The projection of that name of every row by its expert."""
        bias, weight = layer.weights.get(f"{name}.bias"), layer.weights[f"{name}.weight"]
        rest = (weight, ends, *(() if bias is None else (bias,)))
        quantization, shape = layer.shape.quantization, layer.shape
        if type_of(weight) != PACKED or quantization is None:
            return s.op("grouped_linear", rows, *rest, label="experts", loads=layer.loads, **_bound(capacity))
        return s.op(
            "packed_grouped_linear", layer.rounded(s, name, rows), *rest, label="experts", loads=layer.loads,
            format=quantization.packed.text, result=layer.dtype or shape.dtype, scales=quantization.scales,
            **_bound(capacity),
        )  # fmt: skip


def _bound(capacity: int) -> dict[str, Any]:
    """A capacity as operations take it, which plans without one need not name."""
    return {"capacity": capacity} if capacity else {}


def _shared(s: Script, layer: Weighted, flat: Source) -> Value:
    """The feed-forward that every token takes beside its experts."""
    x = layer.rounded(s, "shared_gate", flat)
    gate, up = (layer.linear(s, name, x, "shared expert") for name in ("shared_gate", "shared_up"))
    act = s.op("gated_activation", gate, up, in_place=True, label="shared expert", kind=layer.shape.activation)
    return layer.linear(s, "shared_down", act, "shared expert")
