"""A layer over the ranks of a tensor-parallel group, forward and backward: the block of one device, and its sums.

    s = RankScript(script, places, add_up)          # emits every op on every rank
    x = ShardedBlock.of(blocks).finish(s, x, attention)

Projections out of the stream give each rank its own heads and columns; one back into it is added up over the ranks,
and so is, on the way back, the gradient of a normed stream.
Source: Shoeybi et al., Megatron-LM, arXiv 1909.08053, section 3.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from controller.models.block import Block
from controller.models.cut import cut_axis
from controller.models.linear import multiplied
from controller.models.ranks import Ranks, RankScript, weights_of_ranks
from controller.plan.script import Script, Source, Value
from controller.plan.size import Size


@dataclass(frozen=True, slots=True)
class ShardedBlock(Block):
    """One layer over the ranks of a `RankScript`, which all its methods take; values are those of all ranks.

    Attributes:
        blocks: the layer as each rank has it.
    """

    blocks: tuple[Block, ...] = ()

    @classmethod
    def of(cls, blocks: Sequence[Block]) -> ShardedBlock:
        """The layer of which ranks have `blocks`."""
        first = blocks[0]
        weights = weights_of_ranks([block.weights for block in blocks])
        return cls(first.shape, first.layer, weights, first.loads, first.dtype, blocks=tuple(blocks))

    def linear(self, s: Script, name: str, x: Source, label: str, out: Source | None = None) -> Value:
        """A projection; one back into the stream is added up over the ranks, and its bias counts once."""
        s = _over_ranks(s)
        if cut_axis(f"{name}.weight") != 1:
            return Block.linear(self, s, name, x, label, out)
        bias = f"{name}.bias"
        if len(self.blocks) > 1 and bias in self.weights:  # which every rank has, and adds behind the sum
            whole = s.add_up(multiplied(s, self.weights[f"{name}.weight"], x, label))
            return s.op("add", whole, self.weights[bias], out=out, label=f"{label} bias")
        partial = s.each(self.blocks, lambda rank, own, to: rank.linear(s.inner, name, own, label, to), x, out)
        return s.add_up(Ranks(partial))

    def whole(self, s: Script, gradient: Value) -> Value:
        """The gradient of what every projection out of the stream took, of which ranks have summands."""
        return _over_ranks(s).add_up(gradient)

    # Ranks may have unequal shares of heads, and what follows depends on how many.

    def split_qkv(self, s: Script, joined: Value) -> tuple[Value, Value, Value]:
        """q, k and v of every rank."""
        s = _over_ranks(s)
        made = s.each(self.blocks, lambda rank, own: rank.split_qkv(s.inner, own), joined)
        q, k, v = (Ranks(each) for each in zip(*made, strict=True))
        return q, k, v

    def positioned(self, s: Script, part: str, x: Value, position: Size | Source) -> Value:
        """q or k of every rank after its norm and its rotation."""
        s = _over_ranks(s)
        own = s.each(self.blocks, lambda rank, own, at: rank.positioned(s.inner, part, own, at), x, position)
        return Ranks(own)

    def projected(self, s: Script, attention: Value, axes: tuple[Size, ...]) -> Value:
        """Output projection (*axes, n) of the attention of all ranks."""
        s = _over_ranks(s)
        flat = s.each(self.blocks, lambda rank, own: own.reshape(*axes, rank.attention_width()), attention)
        return self.linear(s, "o", Ranks(flat), "o_proj")

    def fed_forward(self, s: Script, x: Value) -> Value:
        """Feed-forward of the normed `x`; experts are whole on every rank, and no sum counts them."""
        if self.shape.experts is None:
            return Block.fed_forward(self, s, x)
        s = _over_ranks(s)
        return Ranks(s.each(self.blocks, lambda rank, own: rank.fed_forward(s.inner, own), x))


def _over_ranks(s: Script) -> RankScript:
    assert isinstance(s, RankScript), "ranks are emitted by a RankScript"
    return s
