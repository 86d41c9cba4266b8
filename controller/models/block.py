"""The transformer layer, emitted once over a script: what every strategy puts its attention and its transfers between.

    block = decoder.block(layer)                            # weights of one layer, on one device
    q, k, v = block.qkv(s, x, position)
    attn = block.decode_attention(s, q, [(keys, values)], (context,))       # or the strategy's own, elsewhere
    x = block.finish(s, x, attn)

Tensors are token-major: x (rows, n) in decode and (rows, tokens, n) in a prompt, q (..., h*d), k and v (..., g*d). The
numbers of heads follow from the widths, so that a block over a part of the heads is the same block. The shape chooses
the feed-forward (`feed_forward.py`, `experts.py`), the attention (`attention.py`), the norms, the rotation and what is
normed beside them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from controller.models.attention import Attention, attention_of, scaled
from controller.models.experts import Experts
from controller.models.feed_forward import feed_forward_of
from controller.models.linear import linear, linear_backward, rounded
from controller.models.norm import Fetched, Weights, norm, norm_backward
from controller.models.quantization import PACKED
from controller.models.shape import ModelShape
from controller.plan.build import Operand
from controller.plan.ops import View
from controller.plan.script import Script, Source, Value
from controller.plan.size import Affine, Size, product
from controller.plan.value import Place


@dataclass(frozen=True, slots=True)
class Block:
    """One transformer layer with its weights on one device.

    Attributes:
        shape: of the model.
        layer: number of the layer, which decides window and rotation.
        weights: of the layer; ``qkv.weight`` in place of three where one matrix product gives all of them. Values
            where a script has fetched them.
        loads: declared share of each expert; empty for even ones.
        dtype: element type of activations; "" for that of the shape.
        dropped: counts choices of experts that found no room, int64 (1); None where nobody asks.
    """

    shape: ModelShape
    layer: int
    weights: Fetched
    loads: tuple[int, ...] = ()
    dtype: str = ""
    dropped: Source | None = None

    @property
    def attention(self) -> Attention:
        """The part that makes what is cached, and attends to it."""
        return attention_of(self.shape)

    @property
    def sinks(self) -> tuple[Source, ...]:
        """The weight of attention sinks; strategies that merge partial attentions would count it once a part."""
        return (self.weights["sinks.weight"],) if self.shape.sinks else ()

    def qkv(self, s: Script, x: Source, position: Size = 0) -> tuple[Value, Value, Value]:
        """Norm, projections, norms of q and k, rotation; `position` is that of the first token."""
        normed = self.before(s, "attn_norm", x)
        normed = self.rounded(s, "qkv" if "qkv.weight" in self.weights else "q", normed)
        if "qkv.weight" in self.weights:
            q, k, v = self.split_qkv(s, self.linear(s, "qkv", normed, "qkv_proj"))
        else:
            q, k, v = (self.linear(s, part, normed, "qkv_proj") for part in "qkv")
        return self.positioned(s, "q", q, position), self.positioned(s, "k", k, position), v

    def split_qkv(self, s: Script, joined: Value) -> tuple[Value, Value, Value]:
        """q, k and v out of one tensor (..., (h + 2 g) d)."""
        group = self.shape.heads // self.shape.kv_heads
        width = joined.shape[-1]
        assert isinstance(width, int), "widths are never open"
        kv = width // (group + 2)
        axes = joined.shape[:-1]
        kinds = [(joined.dtype, (*axes, size)) for size in (group * kv, kv, kv)]
        q, k, v = s.results("split", joined, makes=kinds)
        assert isinstance(q, Value) and isinstance(k, Value) and isinstance(v, Value)
        return q, k, v

    def positioned(self, s: Script, part: str, x: Value, position: Size | Source) -> Value:
        """q or k after its norm and its rotation, where the model has them; `position` may be one int64 a row."""
        shape = self.shape
        if shape.qk_norm:
            width, axes = x.shape[-1], x.shape
            assert isinstance(width, int), "widths are never open"
            count = product((*axes[:-1], width // shape.head_dim))
            weight = self.weights[f"{part}_norm.weight"]
            by_head = x if shape.qk_norm_whole else x.reshape(count, shape.head_dim)
            x = s.op("rms_norm", by_head, weight, eps=shape.norm_eps, offset=shape.norm_offset).reshape(*axes)
        if shape.positions == "rotary":
            theta, factor = shape.rotation(self.layer)
            first, rows = (position, ()) if isinstance(position, int | Affine) else (0, (position,))
            x = s.op(
                "rotary",
                x,
                *rows,
                head_dim=shape.head_dim,
                position=first,
                theta=theta,
                factor=factor,
                **scaled(shape, self.layer),
            )
        return x

    def cached(self, s: Script, x: Value) -> Value:
        """A key, a value or a latent in the type of the cache, before it leaves for a cache elsewhere."""
        kind = self.shape.kv_dtype
        if kind in ("", x.dtype):
            return x
        (made,) = s.results("kv_cast", x, makes=[(kind, x.shape)], label="kv cast")
        assert isinstance(made, Value)
        return made

    def prefill_attention(self, s: Script, q: Source, k: Source, v: Source) -> Value:
        """Causal attention over a prompt: q (rows, h, tokens, d), k and v (rows, g, tokens, d) by heads.

        Returns:
            Attention (rows, tokens, h*d).
        """
        scale, window = self.shape.attention_scale, self.shape.window(self.layer)
        attended = s.op("prefill_attention", q, k, v, *self.sinks, scale=scale, window=window)
        return s.op("from_heads", attended)

    def to_heads(self, s: Script, x: Source, out: Operand | None = None) -> Value:
        """A prompt's q, k or v (rows, tokens, n*d) by heads (rows, n, tokens, d)."""
        width = x.shape[-1]
        assert isinstance(width, int), "widths are never open"
        return s.op("to_heads", x, out=out, heads=width // self.shape.head_dim)

    def decode_attention(
        self,
        s: Script,
        q: Value,
        segments: Sequence[tuple[Source, Source]],
        tokens: Sequence[Size],
        starts: Sequence[Size] = (),
        *,
        on: Place | None = None,
    ) -> tuple[Value, Value]:
        """Attention of one new token over cached segments, on the device of q.

        Args:
            s: takes the ops.
            q: (rows, h*d).
            segments: keys and values of each, (rows, g, capacity, d).
            tokens: valid tokens of each.
            starts: first token attended of each; empty for 0.
            on: where it runs; None for the place of q.

        Returns:
            Attention (rows, h, d) and its log-sum-exp, fp32 (rows, h).
        """
        width = q.shape[-1]
        assert isinstance(width, int), "widths are never open"
        query = q.reshape(q.shape[0], width // self.shape.head_dim, self.shape.head_dim)
        out, lse = s.results(
            "decode_attention", query, *(each for pair in segments for each in pair), *self.sinks, on=on,
            tokens=tuple(tokens), starts=tuple(starts), scale=self.shape.attention_scale,
        )  # fmt: skip
        assert isinstance(out, Value) and isinstance(lse, Value)
        return out, lse

    def finish(self, s: Script, x: Source, attention: Value) -> Value:
        """The rest of the layer: output projection, feed-forward, and both residual sums."""
        return self.feed_forward(s, self.attention_output(s, x, attention))

    def attention_output(self, s: Script, x: Source, attention: Value) -> Value:
        """Output projection of `attention`, in any form of (..., h*d), added to `x`."""
        return self.residual(s, x, self.projected(s, attention, x.shape[:-1]), "post_attn_norm")

    def feed_forward(self, s: Script, x: Value) -> Value:
        """Norm, feed-forward, residual."""
        return self.residual(s, x, self.fed_forward(s, x), "post_ffn_norm")

    def projected(self, s: Script, attention: Value, axes: tuple[Size, ...]) -> Value:
        """Output projection (*axes, n) of `attention`, in any form of (..., h*d)."""
        width = self.attention_width()
        return self.linear(s, "o", attention.reshape(*axes, width), "o_proj")

    def attention_width(self) -> int:
        """Columns of all heads here; rows of packed weights do not tell it, so then those that make q do."""
        weight = self.weights["o.weight"]
        dtype = weight.buffer.dtype if isinstance(weight, View) else weight.dtype
        if dtype != PACKED:
            return self._extent("o.weight", 1)
        if self.shape.latent is not None:
            return self.shape.heads * self.shape.latent.value_dim
        if "q.weight" in self.weights:
            return self._extent("q.weight", 0)
        group = self.shape.heads // self.shape.kv_heads
        return self._extent("qkv.weight", 0) * group // (group + 2)

    def _extent(self, name: str, axis: int) -> int:
        extent = self.weights[name].shape[axis]
        assert isinstance(extent, int), "weights are never open"
        return extent

    def fed_forward(self, s: Script, x: Value) -> Value:
        """Feed-forward of the normed `x`."""
        normed, experts = self.before(s, "ffn_norm", x), self.shape.experts
        if experts is not None and experts.of_layer(self.layer):
            assert isinstance(normed, Value), "a norm makes a value"
            return Experts(experts).forward(s, self, normed)
        return feed_forward_of(self.shape).forward(s, self, normed)

    def residual(self, s: Script, x: Source, made: Value, norm_name: str) -> Value:
        """`made` added to `x`, after the norm of that name where the model has one there."""
        if self.shape.post_norms:
            made = self.norm(s, norm_name, made)
        return s.op("add", x, made)

    def before(self, s: Script, name: str, x: Source) -> Source:
        """The norm of that name where the model has one there, else `x`."""
        return self.norm(s, name, x) if f"{name}.weight" in self.weights else x

    def norm(self, s: Script, name: str, x: Source, out: Source | None = None) -> Value:
        """The norm of that name."""
        return norm(s, self.shape, self.weights, name, x, out)

    def norm_backward(self, s: Script, name: str, x: Source, gradient: Source, gradients: Weights) -> Value:
        """Gradient of `x` from that of its norm; fills those of the weights."""
        return norm_backward(s, self.shape, self.weights, name, x, gradient, gradients)

    def linear(self, s: Script, name: str, x: Source, label: str, out: Source | None = None) -> Value:
        """A projection, with its bias where it has one."""
        return linear(
            s, self.weights, name, x, label, out, self.shape.quantization, self.dtype or self.shape.dtype
        )  # fmt: skip

    def rounded(self, s: Script, name: str, x: Source) -> Source:
        """`x` as products with that weight take it: rounded to 8 bits, once for all of them, or unchanged."""
        return rounded(s, x, self.weights[f"{name}.weight"], self.shape.quantization)

    def linear_backward(
        self, s: Script, name: str, x: Source, gradient: Source, gradients: Weights, label: str,
        added: Value | None = None,
    ) -> Value:  # fmt: skip
        """Gradient of `x` from that of its projection, added to `added`; fills those of weight and bias."""
        return linear_backward(s, self.weights, name, x, gradient, gradients, label, added)

    def whole(self, s: Script, gradient: Value) -> Value:
        """The gradient of a normed stream; where ranks share the projections out of it, the sum of theirs."""
        return gradient
