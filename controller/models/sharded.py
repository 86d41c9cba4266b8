"""A model over the ranks of a tensor-parallel group that decodes, in lockstep, with two sums a layer.

Every rank keeps the whole residual stream, and every op of a layer is launched on one rank after the other. The number
of rows may be open until the plan is bound, so that one plan serves every batch.
"""

from __future__ import annotations

from collections.abc import Sequence

from controller.collectives.exchange import Software
from controller.collectives.on_values import collective
from controller.models.ends import add_positions, logits
from controller.models.ranks import Ranks, RankScript, weights_of_ranks
from controller.models.sharding import Sharding
from controller.plan.build import Operand
from controller.plan.script import Script, Source, Value
from controller.plan.size import Size
from controller.plan.value import Place


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
        self._ends = weights_of_ranks(sharding.ends)
        self._script: RankScript | None = None
        self._normed: Source | None = None
        self._kv: tuple[Value, Value] | None = None

    @property
    def ranks(self) -> range:
        """Numbers of the ranks."""
        return range(self.sharding.world)

    def embed(self, s: Script, ids: Sequence[Source], position: Size | Ranks) -> list[Value]:
        """Token ids (rows) or (rows, tokens), on every rank, to the residual stream of each.

        Args:
            s: takes the ops.
            ids: by rank.
            position: of the first token of every row; or of each row, int64 (rows) on every rank.
        """
        shape, on = self.sharding.shape, self._on(s)
        x = on.op("embedding", self._ends["embed"], Ranks(ids), scale=shape.embedding_scale)
        if len(self.places) > 1:
            x = on.op("concat", *self._gathered(s, x), label="embed")
        if shape.positions == "learned":
            tables = [own["positions"] for own in self.sharding.ends]
            x = Ranks(on.each(tables, lambda table, own, at: add_positions(s, shape, table, own, at), x, position))
        return _values(x)

    def _gathered(self, s: Script, own: Value) -> list[Ranks]:
        """What each rank has, on all of them."""
        return [
            Ranks([part if there == rank else s.move(part, place, "embed") for there, place in enumerate(self.places)])
            for rank, part in enumerate(_values(own))
        ]

    def queries(self, s: Script, layer: int, x: Sequence[Source], position: Size | Ranks) -> list[Value]:
        """q of every rank, (..., h*d)."""
        on, block, first = self._on(s), self.sharding.layer(layer), self.sharding.groups[0]
        self._normed, self._kv = block.rounded(on, first, block.before(on, "attn_norm", Ranks(x))), None
        q = block.linear(on, first, self._normed, "qkv_proj")
        if first == "qkv":
            q, k, v = block.split_qkv(on, q)
            self._kv = k, v
        return self._noted(on, block.positioned(on, "q", q, position))

    def keys(self, s: Script, layer: int, position: Size | Ranks) -> list[tuple[Value, Value]]:
        """k and v after `queries` of the same layer, on every rank."""
        on, block = self._on(s), self.sharding.layer(layer)
        if self._kv is None:
            assert self._normed is not None, "queries come first"
            self._kv = _split_kv(on, block.linear(on, "kv", self._normed, "qkv_proj"))
        k, v = self._kv
        return list(zip(self._noted(on, block.positioned(on, "k", k, position)), _values(v), strict=True))

    def finish(self, s: Script, layer: int, x: Sequence[Source], attention: Sequence[Value]) -> list[Value]:
        """Output projection of `attention` (..., h*d), feed-forward, both sums and both residuals."""
        return _values(self.sharding.layer(layer).finish(self._on(s), Ranks(x), Ranks(attention)))

    def head(self, s: Script, x: Sequence[Value], to: Operand | None, ids: Operand | None) -> tuple[Source, Source]:
        """Logits of the last token (rows, vocab) and the greedy choice (rows), both on the first rank.

        Args:
            s: takes the ops.
            x: residual stream of every rank.
            to, ids: where they go; None for new values.
        """
        shape, first = self.sharding.shape, self.places[0]
        if len(x) == 1:
            made = logits(s, shape, self.sharding.ends[0], x[0], "head", to)
        else:
            own = _values(logits(self._on(s), shape, self._ends, Ranks(x), "head"))
            shares = [s.move(share, first, "logits") if rank else share for rank, share in enumerate(own)]
            made = s.op("concat", *shares, out=to, label="lm_head")
        return made, s.op("argmax", made, out=ids, on=first)

    def _on(self, s: Script) -> RankScript:
        """`s` over all ranks."""
        if self._script is None or self._script.inner is not s:
            self._script = RankScript(s, self.places, self._summed)
        return self._script

    def _noted(self, on: RankScript, made: Value) -> list[Value]:
        self.made = list(on.last)
        return _values(made)

    def _summed(self, s: Script, parts: Sequence[Source]) -> list[Source]:
        """The sum over the ranks, on every rank."""
        rows, hidden = parts[0].shape[0], self.sharding.shape.hidden
        for tokens in parts[0].shape[1:-1]:
            assert isinstance(tokens, int), "the tokens of a prompt are never open"
            rows = rows * tokens
        flat = [part.reshape(rows, hidden) for part in parts if isinstance(part, Value)]
        sums = collective(s, "all_reduce", flat, algorithm="direct", software=self.software, label="all_reduce")
        return [total.reshape(*parts[0].shape) for total in sums if isinstance(total, Value)]


def _split_kv(on: RankScript, joined: Value) -> tuple[Value, Value]:
    """k and v of every rank, out of one tensor (..., 2 g d) each."""

    def halves(s: Script, own: Value) -> tuple[Source, ...]:
        width = own.shape[-1]
        assert isinstance(width, int), "widths are never open"
        return s.results("split", own, makes=[(own.dtype, (*own.shape[:-1], width // 2))] * 2)

    k, v = (Ranks(each) for each in zip(*on.each([on.inner] * len(on.places), halves, joined), strict=True))
    return k, v


def _values(ranks: Source) -> list[Value]:
    assert isinstance(ranks, Ranks), "ops over ranks make a value on each"
    return ranks.values
