"""The shape of a mixture of experts: how many, how wide, and how a gate chooses among them."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from math import ceil


@dataclass(frozen=True, slots=True)
class ExpertShape:
    """The feed-forward of layers whose tokens go to some of many experts each.

    Unless it has a capacity, nothing is dropped: an expert may get every token of a pass, which is the bound that
    memory is planned for.

    Attributes:
        count: experts of a layer.
        chosen: of them for each token.
        intermediate: width inside an expert.
        shared_intermediate: width of the feed-forward that every token takes beside its experts; 0 for none.
        first_dense: layers at the beginning that have a dense feed-forward instead.
        dense: numbers of further layers that have one.
        shared_gate: a sigmoid of one projection weighs what the shared feed-forward gives.
        score, normalise, scale, groups, kept_groups, group_top: how the gate chooses, as operation ``expert_gate`` has
            them.
        choice_bias: each expert has a bias that decides who is chosen, not how much it counts.
        router_bias: the projection to the logits of the gate has a bias.
        bias: experts' projections have a bias.
        clamped: activation of GPT-OSS (``clamped_swiglu``) instead of the model's own.
        capacity_factor: most tokens of an expert in a pass over its even share of them; 0 for no bound.
    """

    count: int
    chosen: int
    intermediate: int
    shared_intermediate: int = 0
    first_dense: int = 0
    score: str = "softmax"
    normalise: bool = False
    scale: float = 1.0
    groups: int = 1
    kept_groups: int = 1
    group_top: int = 1
    choice_bias: bool = False
    router_bias: bool = False
    bias: bool = False
    clamped: bool = False
    dense: tuple[int, ...] = ()
    shared_gate: bool = False
    capacity_factor: float = 0.0

    def capacity(self, tokens: int) -> int:
        """Most tokens of an expert in a pass over `tokens`, the even share times the factor; 0 for no bound.

        Tokens beyond it, in their order, get nothing of that expert, and the weights of the others stay as they are.
        Source: GShard, arXiv 2006.16668, section 2.2; Switch Transformers, arXiv 2101.03961, equation 3.
        """
        if not self.capacity_factor:
            return 0
        # The decimal number that was written: 1.1 as a binary fraction is a little more than 11/10.
        return ceil(Fraction(str(self.capacity_factor)) * tokens * self.chosen / self.count)

    def of_layer(self, layer: int) -> bool:
        """Whether `layer` has experts."""
        return layer >= self.first_dense and layer not in self.dense

    def weights(self, hidden: int) -> dict[str, tuple[int, ...]]:
        """Name within a layer to shape of each weight; the matrices of all experts are one tensor, expert by expert."""
        shapes: dict[str, tuple[int, ...]] = {"router.weight": (self.count, hidden)}
        if self.router_bias:
            shapes["router.bias"] = (self.count,)
        if self.choice_bias:
            shapes["router_choice.bias"] = (self.count,)
        inner, outer = (self.intermediate, hidden), (hidden, self.intermediate)
        for name, extents in (("expert_gate", inner), ("expert_up", inner), ("expert_down", outer)):
            shapes[f"{name}.weight"] = (self.count, *extents)
            if self.bias:
                shapes[f"{name}.bias"] = (self.count, extents[0])
        if self.shared_intermediate:
            shapes["shared_gate.weight"] = shapes["shared_up.weight"] = (self.shared_intermediate, hidden)
            shapes["shared_down.weight"] = (hidden, self.shared_intermediate)
        if self.shared_gate:
            shapes["shared_choice.weight"] = (1, hidden)
        return shapes
