"""The blocks of a tensor-parallel group in lockstep: every rank its heads and columns, two sums a layer.

Every rank keeps the whole residual stream. Ranks are emitted one after the other in every part of a layer, as the
launches of one iteration follow each other on a host. The number of rows may be open until the plan is bound, so that
one plan serves every batch.
"""

from __future__ import annotations

from collections.abc import Sequence

from controller.collectives.exchange import Software
from controller.collectives.on_values import collective
from controller.errors import BadWorkload
from controller.models.linear import multiplied
from controller.models.norm import norm
from controller.models.sharding import Sharding
from controller.plan.build import Operand
from controller.plan.ops import View
from controller.plan.script import Script, Source, Value
from controller.plan.size import Size
from controller.plan.value import Place
from node.hardware.operation import ITEM_BYTES


class Sharded:
    """A model over the ranks of one group.

    Attributes:
        sharding: the weights.
        software: what the library's call of a sum costs.
        places: memory of each rank.
        made: by rank, the op that made its last q, k or v.
    """

    def __init__(self, sharding: Sharding, software: Software) -> None:
        self.sharding, self.software = sharding, software
        self.places = [Place(device, "hbm") for device in sharding.devices]
        self.made = [0] * sharding.world
        self._joined: list[tuple[Value, Value]] = []

    @property
    def ranks(self) -> range:
        """Numbers of the ranks."""
        return range(self.sharding.world)

    def embed(self, s: Script, ids: Sequence[Source], position: Size) -> list[Value]:
        """Token ids (rows) or (rows, tokens), on every rank, to the residual stream of each."""
        shape = self.sharding.shape
        own = [
            s.op("embedding", self.sharding.weights[rank]["embed"], ids[rank], scale=shape.embedding_scale)
            for rank in self.ranks
        ]
        if len(own) > 1:
            parts = [[own[rank]] * len(own) for rank in self.ranks]
            for rank in self.ranks:
                for other in self.ranks:
                    if other != rank:
                        parts[other][rank] = s.move(own[rank], self.places[other], "embed")
            for rank in self.ranks:
                parts[rank][rank] = own[rank]
            own = [s.op("concat", *parts[rank], label="embed") for rank in self.ranks]
        if shape.positions == "learned":
            own = [self._positioned(s, rank, x, position) for rank, x in enumerate(own)]
        return own

    def _positioned(self, s: Script, rank: int, x: Value, position: Size) -> Value:
        shape, tokens = self.sharding.shape, x.shape[1] if len(x.shape) > 2 else 1
        assert isinstance(tokens, int), "the tokens of a prompt are never open"
        if isinstance(position, int) and position + tokens > shape.max_positions:
            raise BadWorkload(
                f"{tokens} tokens from position {position} on, but {shape.name} has {shape.max_positions} positions; "
                f"write a shorter prompt or choose another model"
            )
        table = self.sharding.weights[rank]["positions"]
        width = tokens * shape.hidden
        offset = (position + shape.position_offset) * (shape.hidden * ITEM_BYTES[table.dtype])
        return s.op("add", x.reshape(x.shape[0], width), View(table, offset, (width,))).reshape(*x.shape)

    def queries(self, s: Script, layer: int, x: Sequence[Source], position: Size) -> list[Value]:
        """q of every rank, (..., h*d)."""
        blocks = [self.sharding.block(rank, layer) for rank in self.ranks]
        first = self.sharding.groups[0]
        self._normed = [
            block.rounded(s, first, block.before(s, "attn_norm", stream))
            for block, stream in zip(blocks, x, strict=True)
        ]
        self._joined, found = [], []
        for rank, block in enumerate(blocks):
            if self.sharding.groups == ("qkv",):
                q, *kv = block.split_qkv(s, block.linear(s, "qkv", self._normed[rank], "qkv_proj"))
                self._joined.append((kv[0], kv[1]))
            else:
                q = block.linear(s, "q", self._normed[rank], "qkv_proj")
            found.append(block.positioned(s, "q", q, position))
            self.made[rank] = s.count - 1
        return found

    def keys(self, s: Script, layer: int, position: Size) -> list[tuple[Value, Value]]:
        """k and v after `queries` of the same layer, on every rank."""
        found = []
        for rank in self.ranks:
            block = self.sharding.block(rank, layer)
            k, v = self._joined[rank] if self._joined else self._split_kv(s, rank, layer)
            found.append((block.positioned(s, "k", k, position), v))
            self.made[rank] = s.count - 1
        return found

    def _split_kv(self, s: Script, rank: int, layer: int) -> tuple[Value, Value]:
        joined = self.sharding.block(rank, layer).linear(s, "kv", self._normed[rank], "qkv_proj")
        width = joined.shape[-1]
        assert isinstance(width, int), "widths are never open"
        k, v = s.results("split", joined, makes=[(joined.dtype, (*joined.shape[:-1], width // 2))] * 2)
        assert isinstance(k, Value) and isinstance(v, Value)
        return k, v

    def finish(self, s: Script, layer: int, x: Sequence[Source], attention: Sequence[Value]) -> list[Value]:
        """Output projection of `attention` (..., h*d), feed-forward, both sums and both residuals."""
        blocks = [self.sharding.block(rank, layer) for rank in self.ranks]
        axes = x[0].shape[:-1]
        parts = [block.projected(s, attended, axes) for block, attended in zip(blocks, attention, strict=True)]
        middle = [
            block.residual(s, stream, total, "post_attn_norm")
            for block, stream, total in zip(blocks, x, self._summed(s, parts), strict=True)
        ]
        parts = [block.fed_forward(s, stream) for block, stream in zip(blocks, middle, strict=True)]
        return [
            block.residual(s, stream, total, "post_ffn_norm")
            for block, stream, total in zip(blocks, middle, self._summed(s, parts), strict=True)
        ]

    def _summed(self, s: Script, parts: Sequence[Value]) -> Sequence[Value]:
        """The sum over the ranks, on every rank."""
        if len(parts) == 1:
            return parts
        rows, hidden = parts[0].shape[0], self.sharding.shape.hidden
        for tokens in parts[0].shape[1:-1]:
            assert isinstance(tokens, int), "the tokens of a prompt are never open"
            rows = rows * tokens
        flat = [part.reshape(rows, hidden) for part in parts]
        sums = collective(
            s, "all_reduce", flat, algorithm="direct", software=self.software, label="all_reduce"
        )  # fmt: skip
        return [total.reshape(*part.shape) for total, part in zip(sums, parts, strict=True) if isinstance(total, Value)]

    def head(self, s: Script, x: Sequence[Value], logits: Operand | None, ids: Operand | None) -> tuple[Source, Source]:
        """Logits of the last token (rows, vocab) and the greedy choice (rows), both on the first rank.

        Args:
            s: takes the ops.
            x: residual stream of every rank.
            logits, ids: where they go; None for new values.
        """
        shape, shares = self.sharding.shape, []
        alone = len(x) == 1
        made: Source | None = logits
        for rank, stream in enumerate(x):
            weights = self.sharding.weights[rank]
            last = stream
            if len(stream.shape) > 2:
                tokens = stream.shape[1]
                assert isinstance(tokens, int), "the tokens of a prompt are never open"
                last = s.op("take_rows", stream, row=tokens - 1)
            normed = norm(s, shape, weights, "final_norm", last)
            share = multiplied(
                s, weights["head"], normed, "lm_head", out=logits if alone else None, quantization=shape.quantization
            )
            if rank:
                share = s.move(share, self.places[0], "logits")
            shares.append(share)
        made = shares[0] if alone else s.op("concat", *shares, out=logits, label="lm_head")
        return made, s.op("argmax", made, out=ids, on=self.places[0])
