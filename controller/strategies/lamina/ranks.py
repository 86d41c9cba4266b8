"""One mini-batch on the tensor-parallel GPUs that share a model: the part of every layer that is not attention.

Every rank keeps the whole residual stream and works on its heads and its columns; two sums a layer join the ranks. The
number of rows may be open until the plan is bound, so that one plan serves every batch.
"""

from __future__ import annotations

from collections.abc import Sequence

from controller.collectives.all_reduce_direct import direct
from controller.collectives.exchange import Exchange, Software
from controller.collectives.group import Group
from controller.errors import BadWorkload
from controller.plan.build import Operand, PlanBuilder
from controller.plan.ops import Buffer, View
from controller.plan.size import Size
from controller.strategies.lamina.shards import Shards
from node.hardware.operation import ITEM_BYTES


class RankLane:
    """A mini-batch on one replica in one phase.

    Attributes:
        shards: the replica's weights.
        rows: sequences; may be open.
        tokens: of a prompt; None in decode.
        buffers: everything that must be placed before the first fragment.
        made: by rank, the op that made its last q, k or v.
    """

    def __init__(
        self, shards: Shards, name: str, rows: Size, most_rows: int, library: Software, tokens: int | None = None
    ) -> None:
        self.shards, self.name, self.rows, self.tokens, self.library = shards, name, rows, tokens, library
        self._axes: tuple[Size, ...] = (rows,) if tokens is None else (rows, tokens)
        self._most, self._dtype = most_rows, shards.dtype
        self._count = most_rows * (tokens or 1)
        self._item = ITEM_BYTES[shards.dtype]
        shape, world = shards.shape, shards.world
        self.buffers: list[Buffer] = []
        ranks = range(world)
        self._q_widths = [(stop - start) * shards.group() * shape.head_dim for start, stop in shards.kv]
        self._kv_widths = [(stop - start) * shape.head_dim for start, stop in shards.kv]
        self._ffn_widths = [stop - start for start, stop in shards.ffn]
        self._x, self._mid, self._norm, self._part = (
            [self._buffer(rank, part, shape.hidden) for rank in ranks] for part in ("x", "mid", "norm", "part")
        )
        self._sum = [self._buffer(rank, "sum", shape.hidden) for rank in ranks] if world > 1 else self._part
        self._post = [self._buffer(rank, "post", shape.hidden) for rank in ranks] if shape.post_norms else self._part
        self._received = [
            [self._buffer(rank, f"from{other}", shape.hidden // world) if other != rank else self._part[rank]
             for other in ranks] for rank in ranks
        ]  # fmt: skip
        # q and k change slots with each norm and rotation.
        self._slots = [
            [[self._buffer(rank, f"{part}{slot}", widths[rank]) for slot in range(2)] for rank in ranks]
            for part, widths in (("q", self._q_widths), ("k", self._kv_widths))
        ]
        # What one matrix gives of q, k and v, or of k and v.
        self._joined_widths = [
            (self._q_widths[rank] if len(shards.groups) == 1 else 0) + 2 * self._kv_widths[rank] for rank in ranks
        ]
        self._joined = [self._buffer(rank, shards.groups[-1], self._joined_widths[rank]) for rank in ranks]
        self._v = [self._buffer(rank, "v", self._kv_widths[rank]) for rank in ranks]
        self._attn = [self._buffer(rank, "attn", self._q_widths[rank]) for rank in ranks]
        self._ffn = [
            [self._buffer(rank, f"ffn{slot}", self._ffn_widths[rank]) for slot in range(3 if shape.gated else 2)]
            for rank in ranks
        ]
        self._ids = [self._make(rank, "ids", (most_rows, tokens or 1), "int64") for rank in ranks]
        self.made = [0] * world
        columns = [stop - start for start, stop in shards.columns]
        self._columns = [[self._buffer(rank, f"embed{other}", columns[other]) for other in ranks] for rank in ranks]
        self._last = [
            [self._make(rank, f"last{slot}", (most_rows, shape.hidden)) for slot in range(2)] for rank in ranks
        ]
        self._logits = [
            self._make(rank, "logits", (most_rows, stop - start)) for rank, (start, stop) in enumerate(shards.vocab)
        ]
        self._gathered = [
            self._make(0, f"logits{rank}", (most_rows, stop - start)) if rank else self._logits[0]
            for rank, (start, stop) in enumerate(shards.vocab)
        ]

    def ids(self, rank: int) -> View:
        """Room for token ids (rows), of a prompt (rows, tokens)."""
        return View(self._ids[rank], 0, self._axes)

    def x(self, rank: int) -> View:
        """Residual stream of a rank."""
        return self._view(self._x[rank], self.shards.shape.hidden)

    def attention(self, rank: int) -> View:
        """Where attention of a rank's heads is expected: (rows, heads, d), of a prompt (rows, tokens, h*d)."""
        if self.tokens is not None:
            return self._view(self._attn[rank], self._q_widths[rank])
        dim = self.shards.shape.head_dim
        return View(self._attn[rank], 0, (self.rows, self._q_widths[rank] // dim, dim))

    def embed(self, build: PlanBuilder, ids: Sequence[Operand], position: Size) -> None:
        """Token ids (rows) or (rows, tokens), on every rank, to the residual stream."""
        shape, shards = self.shards.shape, self.shards
        learned = shape.positions == "learned"
        for rank, device in enumerate(shards.devices):
            own = self._columns[rank][rank]
            out = self._view(own, own.nbytes // self._item // self._count)
            if shards.world == 1:
                out = self._view(self._norm[rank] if learned else self._x[rank], shape.hidden)
            build.kernel(
                "embedding", device, [shards.weights[rank]["embed"], ids[rank]], [out], scale=shape.embedding_scale
            )
        if shards.world > 1:
            self._gather_columns(build, learned)
        if learned:
            self._add_positions(build, position)

    def _gather_columns(self, build: PlanBuilder, learned: bool) -> None:
        for rank in range(self.shards.world):
            for other in range(self.shards.world):
                if other != rank:
                    start, stop = self.shards.columns[rank]
                    source, target = self._columns[rank][rank], self._columns[other][rank]
                    build.transfer(self._view(source, stop - start), self._view(target, stop - start), label="embed")
        for rank, device in enumerate(self.shards.devices):
            parts = [
                self._view(buffer, stop - start)
                for buffer, (start, stop) in zip(self._columns[rank], self.shards.columns, strict=True)
            ]
            out = self._norm[rank] if learned else self._x[rank]
            build.kernel("concat", device, parts, [self._view(out, self.shards.shape.hidden)], label="embed")

    def _add_positions(self, build: PlanBuilder, position: Size) -> None:
        shape = self.shards.shape
        width = (self.tokens or 1) * shape.hidden
        if isinstance(position, int) and position + (self.tokens or 1) > shape.max_positions:
            raise BadWorkload(
                f"{self.tokens or 1} tokens from position {position}, and {shape.name} has {shape.max_positions}"
            )
        for rank, device in enumerate(self.shards.devices):
            offset = (position + shape.position_offset) * (shape.hidden * self._item)
            table = View(self.shards.weights[rank]["positions"], offset, (width,))
            wide = (self.rows, width)
            build.kernel(
                "add", device, [View(self._norm[rank], 0, wide), table], [View(self._x[rank], 0, wide)]
            )  # fmt: skip

    def queries(self, build: PlanBuilder, layer: int, position: Size) -> list[View]:
        """q of every rank, (rows, h*d) or (rows, tokens, h*d)."""
        for rank in range(self.shards.world):
            self._normalise(build, rank, f"layers.{layer}.attn_norm", self._x[rank], self._norm[rank])
        found = []
        for rank in range(self.shards.world):
            if len(self.shards.groups) == 1:
                self._project_joined(build, rank, layer)
            else:
                self._linear(
                    build, rank, f"layers.{layer}.q", self._norm_view(rank), self._slot(rank, "q", 0), "qkv_proj"
                )
            found.append(self._turn(build, rank, layer, "q", position))
            self.made[rank] = build.count - 1
        return found

    def keys(self, build: PlanBuilder, layer: int, position: Size) -> list[tuple[View, View]]:
        """k and v after `queries` of the same layer, on every rank."""
        found = []
        for rank in range(self.shards.world):
            if len(self.shards.groups) > 1:
                self._project_joined(build, rank, layer)
            k = self._turn(build, rank, layer, "k", position)
            found.append((k, self._view(self._v[rank], self._kv_widths[rank])))
            self.made[rank] = build.count - 1
        return found

    def _project_joined(self, build: PlanBuilder, rank: int, layer: int) -> None:
        """The product with the joined matrix, and its parts where they go on from."""
        group = self.shards.groups[-1]
        whole = self._view(self._joined[rank], self._joined_widths[rank])
        self._linear(build, rank, f"layers.{layer}.{group}", self._norm_view(rank), whole, "qkv_proj")
        parts = [self._slot(rank, "k", 0), self._view(self._v[rank], self._kv_widths[rank])]
        if group == "qkv":
            parts.insert(0, self._slot(rank, "q", 0))
        build.kernel("split", self.shards.devices[rank], [whole], parts)

    def _slot(self, rank: int, part: str, number: int) -> View:
        width = (self._q_widths if part == "q" else self._kv_widths)[rank]
        return self._view(self._slots[0 if part == "q" else 1][rank][number], width)

    def finish_layer(self, build: PlanBuilder, layer: int) -> None:
        """Output projection of what lies in `attention`, feed-forward, both residuals."""
        shape, ranks = self.shards.shape, range(self.shards.world)
        for rank in ranks:
            attended = View(self._attn[rank], 0, (*self._axes, self._q_widths[rank]))
            self._linear(
                build, rank, f"layers.{layer}.o", attended, self._view(self._part[rank], shape.hidden), "o_proj"
            )
        self._join(build)
        for rank in ranks:
            after = self._after(build, rank, f"layers.{layer}.post_attn_norm")
            build.kernel(
                "add", self.shards.devices[rank], [self.x(rank), after], [self._view(self._mid[rank], shape.hidden)]
            )
        for rank in ranks:
            self._feed_forward(build, rank, layer)
        self._join(build)
        for rank in ranks:
            after = self._after(build, rank, f"layers.{layer}.post_ffn_norm")
            build.kernel(
                "add", self.shards.devices[rank], [self._view(self._mid[rank], shape.hidden), after], [self.x(rank)]
            )

    def _feed_forward(self, build: PlanBuilder, rank: int, layer: int) -> None:
        shape, device = self.shards.shape, self.shards.devices[rank]
        self._normalise(build, rank, f"layers.{layer}.ffn_norm", self._mid[rank], self._norm[rank])
        slots = [self._view(buffer, self._ffn_widths[rank]) for buffer in self._ffn[rank]]
        if shape.gated:
            self._linear(build, rank, f"layers.{layer}.gate", self._norm_view(rank), slots[0], "ffn")
            self._linear(build, rank, f"layers.{layer}.up", self._norm_view(rank), slots[1], "ffn")
            build.kernel("gated_activation", device, slots[:2], [slots[2]], kind=shape.activation)
        else:
            self._linear(build, rank, f"layers.{layer}.up", self._norm_view(rank), slots[0], "ffn")
            build.kernel("activation", device, [slots[0]], [slots[1]], kind=shape.activation)
        self._linear(build, rank, f"layers.{layer}.down", slots[-1], self._view(self._part[rank], shape.hidden), "ffn")

    def head(self, build: PlanBuilder, logits: Operand, ids: Operand) -> None:
        """Logits of the last token (rows, vocab) and the greedy choice (rows), both on the first rank."""
        shape, shards = self.shards.shape, self.shards
        shares = []
        for rank, device in enumerate(shards.devices):
            last = self.x(rank)
            if self.tokens is not None:
                taken = View(self._last[rank][0], 0, (self.rows, shape.hidden))
                build.kernel("take_rows", device, [last], [taken], row=self.tokens - 1)
                last = taken
            normed = View(self._last[rank][1], 0, (self.rows, shape.hidden))
            self._norm_kernel(build, rank, "final_norm", last, normed)
            start, stop = shards.vocab[rank]
            share = View(self._logits[rank], 0, (self.rows, stop - start))
            if shards.world == 1:
                build.kernel("linear", device, [normed, shards.weights[rank]["head"]], [logits], label="lm_head")
            else:
                build.kernel("linear", device, [normed, shards.weights[rank]["head"]], [share], label="lm_head")
            here = View(self._gathered[rank], 0, (self.rows, stop - start))
            if rank:
                build.transfer(share, here, label="logits")
            shares.append(here)
        if shards.world > 1:
            build.kernel("concat", shards.devices[0], shares, [logits], label="lm_head")
        build.kernel("argmax", shards.devices[0], [logits], [ids])

    # -- parts ---------------------------------------------------------------------------------------------------------

    def _join(self, build: PlanBuilder) -> None:
        if self.shards.world > 1:
            rows = self.rows if self.tokens is None else self.rows * self.tokens
            hidden, devices = self.shards.shape.hidden, self.shards.devices
            received = {
                (rank, f"from{other}"): buffer
                for rank, row in enumerate(self._received)
                for other, buffer in enumerate(row)
            }
            direct(
                Exchange(
                    build, "all_reduce", Group(devices, ("hbm",) * len(devices)),
                    [View(buffer, 0, (rows, hidden)) for buffer in self._part],
                    [View(buffer, 0, (rows, hidden)) for buffer in self._sum],
                    lambda rank, name, columns: View(received[rank, name], 0, (rows, columns)),
                    hidden, self._dtype, label="all_reduce", software=self.library,
                )
            )  # fmt: skip

    def _after(self, build: PlanBuilder, rank: int, name: str) -> View:
        """What is added to the residual: the joined sum, or its norm where the model has one there."""
        joined = self._view(self._sum[rank], self.shards.shape.hidden)
        if not self.shards.shape.post_norms:
            return joined
        out = self._view(self._post[rank], self.shards.shape.hidden)
        self._norm_kernel(build, rank, name, joined, out)
        return out

    def _turn(self, build: PlanBuilder, rank: int, layer: int, part: str, position: Size) -> View:
        """Norm and rotation of q or k, where the model has them."""
        shape, device = self.shards.shape, self.shards.devices[rank]
        slots = [self._slot(rank, part, number) for number in range(2)]
        width = (self._q_widths if part == "q" else self._kv_widths)[rank]
        at = 0
        if shape.qk_norm:
            by_head: tuple[Size, int] = (self._rows_by(width // shape.head_dim), shape.head_dim)
            weight = self.shards.weights[rank][f"layers.{layer}.{part}_norm.weight"]
            source, out = (View(slots[side].buffer, 0, by_head) for side in (at, 1 - at))
            build.kernel(
                "rms_norm", device, [source, weight], [out], eps=shape.norm_eps, offset=shape.norm_offset
            )  # fmt: skip
            at = 1 - at
        if shape.positions == "rotary":
            theta, factor = shape.rotation(layer)
            build.kernel(
                "rotary", device, [slots[at]], [slots[1 - at]],
                head_dim=shape.head_dim, position=position, theta=theta, factor=factor,
            )  # fmt: skip
            at = 1 - at
        return slots[at]

    def _rows_by(self, heads: int) -> Size:
        return self.rows * ((self.tokens or 1) * heads)

    def _normalise(self, build: PlanBuilder, rank: int, name: str, source: Buffer, out: Buffer) -> None:
        hidden = self.shards.shape.hidden
        self._norm_kernel(build, rank, name, self._view(source, hidden), self._view(out, hidden))

    def _norm_kernel(self, build: PlanBuilder, rank: int, name: str, source: View, out: View) -> None:
        weights, shape, device = self.shards.weights[rank], self.shards.shape, self.shards.devices[rank]
        inputs: list[Operand] = [source, weights[f"{name}.weight"]]
        if shape.norm == "layer":
            inputs.append(weights[f"{name}.bias"])
            build.kernel("layer_norm", device, inputs, [out], eps=shape.norm_eps)
        else:
            build.kernel("rms_norm", device, inputs, [out], eps=shape.norm_eps, offset=shape.norm_offset)

    def _linear(self, build: PlanBuilder, rank: int, name: str, source: View, out: View, label: str) -> None:
        weights = self.shards.weights[rank]
        inputs: list[Operand] = [source, weights[f"{name}.weight"]]
        if f"{name}.bias" in weights:
            inputs.append(weights[f"{name}.bias"])
        build.kernel("linear", self.shards.devices[rank], inputs, [out], label=label)

    def _norm_view(self, rank: int) -> View:
        return self._view(self._norm[rank], self.shards.shape.hidden)

    def _view(self, buffer: Buffer, width: int) -> View:
        extents: tuple[Size, ...] = (*self._axes, width)
        return buffer.view() if extents == buffer.shape else View(buffer, 0, extents)

    def _buffer(self, rank: int, part: str, width: int) -> Buffer:
        axes = (self._most,) if self.tokens is None else (self._most, self.tokens)
        return self._make(rank, part, (*axes, width))

    def _make(self, rank: int, part: str, extents: tuple[int, ...], dtype: str = "") -> Buffer:
        made = Buffer(self.shards.devices[rank], "hbm", f"{self.name}.{part}", dtype or self._dtype, extents)
        self.buffers.append(made)
        return made
