"""The forward pass of one mini-batch on one device, in fragments that a strategy puts its attention between.

The residual stream lies in `x`; a layer reads it, writes `mid` after attention and `x` again after the feed-forward.
Everything else lives in one arena that every layer uses again, as an eager framework's caching allocator would, so that
the peak of the tier is that of the widest moment and not of the sum. What leaves the device while the next layer runs
(keys and values of a prompt) goes to buffers that the caller gives.

Arena, by token::

    attention      norm (n) | near: q k v | far: q k v
    feed-forward   norm (n) | gate (f)    | up (f)     | act (f)
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from controller.errors import BadWorkload
from controller.plan.build import Operand, PlanBuilder, as_view
from controller.plan.ops import Buffer, View
from controller.plan.size import Size
from node.hardware.operation import ITEM_BYTES

if TYPE_CHECKING:
    from controller.models.decoder import Decoder


class Stage:
    """One mini-batch in one phase: `rows` sequences, `tokens` tokens of each at once, or one new token when None.

    Attributes:
        name: begins the names of the buffers.
        rows: sequences.
        tokens: of a prompt; None in decode, where the token axis is absent.
        x: residual stream (rows, tokens, n), in decode (rows, n).
        logits: of the last token (rows, vocab).
        buffers: everything that must be placed or allocated before the first fragment.
    """

    def __init__(self, decoder: Decoder, name: str, rows: int, tokens: int | None) -> None:
        if rows < 1 or (tokens is not None and tokens < 1):
            raise BadWorkload(f"stage {name!r}: {rows} sequences of {tokens} tokens, expected 1 or more of both")
        shape = decoder.shape
        self.name, self.rows, self.tokens = name, rows, tokens
        self._decoder, self._device, self._shape = decoder, decoder.device, shape
        self._axes = (rows,) if tokens is None else (rows, tokens)
        self._count = rows * (tokens or 1)
        self._item = ITEM_BYTES[decoder.dtype]
        self._heads = max(shape.q_size + 2 * shape.kv_size, shape.hidden)
        self._wide = max(shape.intermediate, shape.hidden)
        ffn = (3 if shape.gated else 2) * self._wide
        arena = self._count * (shape.hidden + max(2 * self._heads, ffn))
        self._x, self._mid = (
            self._buffer("x", (*self._axes, shape.hidden)),
            self._buffer("mid", (*self._axes, shape.hidden)),
        )
        self._arena = self._buffer("scratch", (arena,))
        self._logits = self._buffer("logits", (rows, shape.vocab))
        self._lse = Buffer(decoder.device, decoder.tier, f"{name}.lse", "fp32", (rows, shape.heads))
        self.x, self.logits = self._x.view(), self._logits.view()
        # q and k change slots with each of these steps.
        self._moves = int(shape.qk_norm) + int(shape.positions == "rotary")

    @property
    def buffers(self) -> tuple[Buffer, ...]:
        """Everything that must be placed or allocated before the first fragment."""
        scratch = (self._x, self._mid, self._arena)
        last = self._shape.layers - 1 in self._decoder.layers
        return (*scratch, *([self._logits] if last else []), *([self._lse] if self.tokens is None else []))

    def embed(self, build: PlanBuilder, ids: Operand, position: Size = 0) -> None:
        """Token ids (rows, tokens), in decode (rows), to `x`; `position` is that of the first token.

        Raises:
            BadWorkload: a learned position beyond the model's table.
        """
        shape, weights = self._shape, self._decoder.weights
        learned = shape.positions == "learned"
        embedded = self._norm_slot() if learned else self.x
        build.kernel("embedding", self._device, [weights["embed"], ids], [embedded], scale=shape.embedding_scale)
        if learned:
            # Rows position.. of the table, read as one long row that is added to every sequence.
            width = (self.tokens or 1) * shape.hidden
            if isinstance(position, int) and position + (self.tokens or 1) > shape.max_positions:
                raise BadWorkload(
                    f"stage {self.name!r}: {self.tokens or 1} tokens from position {position}, "
                    f"but {shape.name} has {shape.max_positions} positions"
                )
            row_bytes = shape.hidden * self._item
            table = View(weights["positions"], (position + shape.position_offset) * row_bytes, (width,))
            build.kernel(
                "add", self._device, [embedded.reshape(self.rows, width), table], [self.x.reshape(self.rows, width)]
            )

    def attention_inputs(self, build: PlanBuilder, layer: int, position: Size = 0) -> tuple[View, View, View]:
        """Norm, projections, norms of q and k, rotation: q (rows, tokens, h*d), k and v (rows, tokens, g*d).

        In decode the token axis is absent, so that ``q.reshape(rows, h, d)`` and ``k.reshape(rows, g, 1, d)`` are the
        same bytes seen by heads. The views are valid until the next `attention_inputs`, or `attention_output` for q.
        """
        shape = self._shape
        normed = self._norm_slot()
        self._norm(build, f"layers.{layer}.attn_norm", self.x, normed)
        q, k, v = self._qkv_slots(0)
        if self._decoder.fused_qkv:
            width = shape.q_size + 2 * shape.kv_size
            whole = self._at(shape.hidden + self._heads, width)
            self._linear(build, f"layers.{layer}.qkv", normed, whole, "qkv_proj")
            build.kernel("split", self._device, [whole], [q, k, v])
        else:
            for part, out in (("q", q), ("k", k), ("v", v)):
                self._linear(build, f"layers.{layer}.{part}", normed, out, "qkv_proj")
        side = 0
        if shape.qk_norm:
            side ^= 1
            q, k = self._qk_norm(build, layer, "q", q, side), self._qk_norm(build, layer, "k", k, side)
        if shape.positions == "rotary":
            side ^= 1
            q, k = self._rotate(build, layer, q, 0, side, position), self._rotate(build, layer, k, 1, side, position)
        return q, k, v

    def prefill_attention(
        self,
        build: PlanBuilder,
        layer: int,
        q: Operand,
        k: Operand,
        v: Operand,
        k_heads: Operand | None = None,
        v_heads: Operand | None = None,
    ) -> tuple[View, View, View]:
        """Causal attention over the prompt on this device.

        Args:
            build: takes the ops.
            layer: says whether the window slides.
            q, k, v: as `attention_inputs` gives them.
            k_heads, v_heads: where keys and values by heads go, (rows, g, tokens, d); scratch when absent, which the
                next layer overwrites.

        Returns:
            Attention (rows, tokens, h*d), and keys and values by heads.
        """
        shape, side = self._shape, (self._moves + 1) % 2
        heads = (self.rows, shape.heads, self.tokens or 1, shape.head_dim)
        groups = (self.rows, shape.kv_heads, self.tokens or 1, shape.head_dim)
        q_slot = self._qkv_slots(side)[0]
        k_out = as_view(k_heads) if k_heads is not None else self._qkv_slots(side)[1].reshape(*groups)
        v_out = as_view(v_heads) if v_heads is not None else self._qkv_slots(1)[2].reshape(*groups)
        for source, out, count in (
            (q, q_slot.reshape(*heads), shape.heads),
            (k, k_out, shape.kv_heads),
            (v, v_out, shape.kv_heads),
        ):
            build.kernel("to_heads", self._device, [source], [out], heads=count)
        by_heads = self._qkv_slots(side ^ 1)[0].reshape(*heads)
        build.kernel(
            "prefill_attention",
            self._device,
            [q_slot.reshape(*heads), k_out, v_out],
            [by_heads],
            scale=shape.attention_scale,
            window=shape.window(layer),
        )
        build.kernel("from_heads", self._device, [by_heads], [q_slot])
        return q_slot, k_out, v_out

    def decode_attention(
        self,
        build: PlanBuilder,
        q: Operand,
        segments: Sequence[tuple[Operand, Operand]],
        tokens: Sequence[Size],
        starts: Sequence[Size] = (),
    ) -> View:
        """Attention of the new token over cached segments on this device.

        Args:
            build: takes the ops.
            q: as `attention_inputs` gives it.
            segments: keys and values, each (rows, g, capacity, d).
            tokens: valid tokens of each segment.
            starts: first token that is attended to in each segment; empty for 0.

        Returns:
            Attention (rows, h, d).
        """
        shape = self._shape
        query = as_view(q).reshape(self.rows, shape.heads, shape.head_dim)
        cached = [operand for pair in segments for operand in pair]
        out = self.attention
        build.kernel(
            "decode_attention",
            self._device,
            [query, *cached],
            [out, self._lse.view()],
            tokens=tuple(tokens),
            starts=tuple(starts),
            scale=shape.attention_scale,
        )
        return out

    @property
    def attention(self) -> View:
        """Decode only: a free place (rows, h, d) for what attention gives, on this device or from elsewhere."""
        return self._qkv_slots((self._moves + 1) % 2)[0].reshape(self.rows, self._shape.heads, self._shape.head_dim)

    def attention_output(self, build: PlanBuilder, layer: int, attn: Operand) -> None:
        """Output projection of `attn` (rows, tokens, h*d) or any view of as many elements, added to the residual."""
        shape = self._shape
        projected = self._norm_slot()
        attended = as_view(attn).reshape(*self._axes, shape.q_size)
        self._linear(build, f"layers.{layer}.o", attended, projected, "o_proj")
        if shape.post_norms:
            after = self._at(shape.hidden, shape.hidden)
            self._norm(build, f"layers.{layer}.post_attn_norm", projected, after)
            projected = after
        build.kernel("add", self._device, [self._x, projected], [self._mid])

    def feed_forward(self, build: PlanBuilder, layer: int) -> None:
        """Norm, feed-forward, residual: ends the layer with its result in `x`."""
        shape = self._shape
        normed = self._norm_slot()
        self._norm(build, f"layers.{layer}.ffn_norm", self._mid.view(), normed)
        first, second, third = (self._at(shape.hidden + i * self._wide, shape.intermediate) for i in range(3))
        if shape.gated:
            self._linear(build, f"layers.{layer}.gate", normed, first, "ffn")
            self._linear(build, f"layers.{layer}.up", normed, second, "ffn")
            activated = third
            build.kernel("gated_activation", self._device, [first, second], [activated], kind=shape.activation)
        else:
            self._linear(build, f"layers.{layer}.up", normed, first, "ffn")
            activated = second
            build.kernel("activation", self._device, [first], [activated], kind=shape.activation)
        self._linear(build, f"layers.{layer}.down", activated, normed, "ffn")
        if shape.post_norms:
            after = self._at(shape.hidden, shape.hidden)
            self._norm(build, f"layers.{layer}.post_ffn_norm", normed, after)
            normed = after
        build.kernel("add", self._device, [self._mid, normed], [self._x])

    def head(self, build: PlanBuilder) -> View:
        """Final norm and logits of the last token (rows, vocab)."""
        hidden = self._shape.hidden
        last = self.x
        if self.tokens is not None:
            last = View(self._arena, 0, (self.rows, hidden))
            build.kernel("take_rows", self._device, [self.x], [last], row=self.tokens - 1)
        normed = View(self._arena, self._count * hidden * self._item, (self.rows, hidden))
        self._norm(build, "final_norm", last, normed)
        head = self._decoder.weights[self._decoder.head_name]
        build.kernel("linear", self._device, [normed, head], [self._logits], label="lm_head")
        return self.logits

    def next_token(self, build: PlanBuilder, logits: Operand, ids: Operand) -> None:
        """Greedy choice of logits (rows, vocab) into `ids` (rows)."""
        build.kernel("argmax", self._device, [logits], [ids])

    def _qk_norm(self, build: PlanBuilder, layer: int, part: str, source: View, side: int) -> View:
        shape = self._shape
        heads = shape.heads if part == "q" else shape.kv_heads
        out = self._qkv_slots(side)[0 if part == "q" else 1]
        by_head = (self._count * heads, shape.head_dim)
        weight = self._decoder.weights[f"layers.{layer}.{part}_norm.weight"]
        build.kernel(
            "rms_norm",
            self._device,
            [source.reshape(*by_head), weight],
            [out.reshape(*by_head)],
            eps=shape.norm_eps,
            offset=shape.norm_offset,
        )
        return out

    def _rotate(self, build: PlanBuilder, layer: int, source: View, part: int, side: int, position: Size) -> View:
        out = self._qkv_slots(side)[part]
        theta, factor = self._shape.rotation(layer)
        build.kernel(
            "rotary",
            self._device,
            [source],
            [out],
            head_dim=self._shape.head_dim,
            position=position,
            theta=theta,
            factor=factor,
        )
        return out

    def _norm(self, build: PlanBuilder, name: str, source: View, out: View) -> None:
        weights, shape = self._decoder.weights, self._shape
        inputs: list[Operand] = [source, weights[f"{name}.weight"]]
        if shape.norm == "layer":
            inputs.append(weights[f"{name}.bias"])
            build.kernel("layer_norm", self._device, inputs, [out], eps=shape.norm_eps)
        else:
            build.kernel("rms_norm", self._device, inputs, [out], eps=shape.norm_eps, offset=shape.norm_offset)

    def _linear(self, build: PlanBuilder, name: str, source: View, out: View, label: str) -> None:
        weights = self._decoder.weights
        inputs: list[Operand] = [source, weights[f"{name}.weight"]]
        if f"{name}.bias" in weights:
            inputs.append(weights[f"{name}.bias"])
        build.kernel("linear", self._device, inputs, [out], label=label)

    def _buffer(self, name: str, extents: tuple[int, ...]) -> Buffer:
        return Buffer(self._decoder.device, self._decoder.tier, f"{self.name}.{name}", self._decoder.dtype, extents)

    def _at(self, column: int, width: int) -> View:
        """`width` columns of the arena from column `column`, for every token."""
        return View(self._arena, column * self._count * self._item, (*self._axes, width))

    def _norm_slot(self) -> View:
        return self._at(0, self._shape.hidden)

    def _qkv_slots(self, side: int) -> tuple[View, View, View]:
        """Where q, k and v lie in the near (0) or far (1) slot."""
        shape, start = self._shape, self._shape.hidden + side * self._heads
        k = start + shape.q_size
        return self._at(start, shape.q_size), self._at(k, shape.kv_size), self._at(k + shape.kv_size, shape.kv_size)
