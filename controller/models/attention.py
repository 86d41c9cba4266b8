"""The attention part of `Block`, for strategies that keep the cache of a layer on the device of its weights.

    attention, kept = part.prompt(s, block, x)                          # of a prompt, and what to cache of it
    query, new = part.new_token(s, block, x, position)                  # of one token, and what to cache of it
    attention = part.attend(s, block, query, cache, context, starts)

Strategies that send queries, keys and values elsewhere use the methods of `Block` instead, and take no latents.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from controller.models.latent_shape import LatentShape
from controller.models.norm import Fetched, norm
from controller.models.shape import ModelShape
from controller.plan.build import Operand, as_view
from controller.plan.ops import Buffer, View
from controller.plan.script import Script, Source, Value
from controller.plan.size import Size

Pair = tuple[Value, Value]
"""Keys and values by heads (rows, g, tokens, d), or latents and rotated keys (rows, 1, tokens, r or p)."""


class Layer(Protocol):
    """What attention needs of its layer, as `Block` has it."""

    @property
    def shape(self) -> ModelShape: ...
    @property
    def layer(self) -> int: ...
    @property
    def weights(self) -> Fetched: ...

    def before(self, s: Script, name: str, x: Source) -> Source: ...
    def linear(self, s: Script, name: str, x: Source, label: str, out: Source | None = None) -> Value: ...
    def qkv(self, s: Script, x: Source, position: Size = 0) -> tuple[Value, Value, Value]: ...
    def to_heads(self, s: Script, x: Source) -> Value: ...
    def prefill_attention(self, s: Script, q: Source, k: Source, v: Source) -> Value: ...
    def decode_attention(
        self, s: Script, q: Value, segments: Sequence[tuple[Source, Source]], tokens: Sequence[Size],
        starts: Sequence[Size] = (),
    ) -> tuple[Value, Value]: ...  # fmt: skip


class Attention(Protocol):
    """What is cached of a token, and how it is made and attended to."""

    def cached(self, shape: ModelShape) -> tuple[tuple[int, int], tuple[int, int]]:
        """Heads and width of both tensors that are cached."""

    def prompt(self, s: Script, block: Layer, x: Source) -> tuple[Value, Pair]:
        """Attention (rows, tokens, h*d) of a prompt x (rows, tokens, n), and what to cache."""

    def new_token(self, s: Script, block: Layer, x: Source, position: Size) -> tuple[tuple[Value, ...], Pair]:
        """Queries of one token x (rows, n), and what to cache of it."""

    def attend(
        self, s: Script, block: Layer, query: tuple[Value, ...], cache: tuple[Source, Source], tokens: Size,
        starts: tuple[Size, ...],
    ) -> Value:  # fmt: skip
        """Attention (rows, h, d) of the queries over `tokens` that are cached."""


class HeadAttention:
    """Keys and values by heads."""

    def cached(self, shape: ModelShape) -> tuple[tuple[int, int], tuple[int, int]]:
        return ((shape.kv_heads, shape.head_dim),) * 2

    def prompt(self, s: Script, block: Layer, x: Source) -> tuple[Value, Pair]:
        q, k, v = [block.to_heads(s, part) for part in block.qkv(s, x)]
        return block.prefill_attention(s, q, k, v), (k, v)

    def new_token(self, s: Script, block: Layer, x: Source, position: Size) -> tuple[tuple[Value, ...], Pair]:
        q, *new = block.qkv(s, x, position)
        k, v = (part.reshape(part.shape[0], block.shape.kv_heads, 1, block.shape.head_dim) for part in new)
        return (q,), (k, v)

    def attend(
        self, s: Script, block: Layer, query: tuple[Value, ...], cache: tuple[Source, Source], tokens: Size,
        starts: tuple[Size, ...],
    ) -> Value:  # fmt: skip
        attention, _ = block.decode_attention(s, query[0], [cache], (tokens,), starts)
        return attention


class LatentAttention:
    """Latents, expanded to keys and values in a prompt; a new token's queries go into their space instead."""

    def __init__(self, latent: LatentShape) -> None:
        self.latent = latent

    def cached(self, shape: ModelShape) -> tuple[tuple[int, int], tuple[int, int]]:
        return (1, self.latent.kv_rank), (1, self.latent.rope_dim)

    def prompt(self, s: Script, block: Layer, x: Source) -> tuple[Value, Pair]:
        shape = block.shape
        q, q_rope, c, k_rope = self.projected(s, block, x, 0)
        k, v = (block.linear(s, name, c, "kv_up") for name in ("k_up", "v_up"))
        attention = s.op(
            "latent_prefill_attention", q, q_rope, k, k_rope, v, heads=shape.heads, scale=shape.attention_scale
        )
        rows, tokens, _ = c.shape
        return attention, (
            c.reshape(rows, 1, tokens, self.latent.kv_rank),
            k_rope.reshape(rows, 1, tokens, self.latent.rope_dim),
        )

    def new_token(self, s: Script, block: Layer, x: Source, position: Size) -> tuple[tuple[Value, ...], Pair]:
        shape, latent = block.shape, self.latent
        q, q_rope, c, k_rope = self.projected(s, block, x, position)
        rows = q.shape[0]
        query = self.absorbed(s, block, q), q_rope.reshape(rows, shape.heads, latent.rope_dim)
        return query, (c.reshape(rows, 1, 1, latent.kv_rank), k_rope.reshape(rows, 1, 1, latent.rope_dim))

    def absorbed(self, s: Script, block: Layer, q: Source) -> Value:
        """Queries (rows, h*d) of one token each in the space of the latents, (rows, h, r)."""
        extents = q.shape[0], block.shape.heads, block.shape.head_dim
        by_heads = q.reshape(*extents) if isinstance(q, Value) else View(*_whole(q), extents)
        return s.op("head_linear", by_heads, self._by_heads(block, "k_up"), turned=True, label="kv_up")

    def attend(
        self, s: Script, block: Layer, query: tuple[Value, ...], cache: tuple[Source, Source], tokens: Size,
        starts: tuple[Size, ...],
    ) -> Value:  # fmt: skip
        mixed = s.op(
            "latent_decode_attention", *query, *cache, tokens=(tokens,), starts=starts,
            scale=block.shape.attention_scale,
        )  # fmt: skip
        return s.op("head_linear", mixed, self._by_heads(block, "v_up"), label="kv_up")

    def projected(
        self, s: Script, block: Layer, x: Source, position: Size
    ) -> tuple[Value, Value, Value, Value]:  # fmt: skip
        """Queries without and with rotation, (..., h*d) and (..., h*p), latents (..., r) and rotated key (..., p)."""
        shape, latent = block.shape, self.latent
        normed = block.before(s, "attn_norm", x)
        source = normed
        if latent.query_rank:
            down = block.linear(s, "q_down", normed, "q_proj")
            source = norm(s, shape, block.weights, "q_down_norm", down)
        q, q_rope = _split(s, block.linear(s, "q", source, "q_proj"), shape.heads * latent.rope_dim)
        c, k_rope = _split(s, block.linear(s, "kv_down", normed, "kv_proj"), latent.rope_dim)
        q_rope, k_rope = (_rotated(s, block, part, latent.rope_dim, position) for part in (q_rope, k_rope))
        return q, q_rope, norm(s, shape, block.weights, "kv_norm", c), k_rope

    def _by_heads(self, block: Layer, name: str) -> Source:
        """A matrix (h*d, r) as one for every head (h, d, r)."""
        weight = block.weights[f"{name}.weight"]
        rows, rank = weight.shape
        assert isinstance(rows, int), "weights are never open"
        heads = block.shape.heads
        if isinstance(weight, Value):
            return weight.reshape(heads, rows // heads, rank)
        view = as_view(weight)
        return View(view.buffer, view.offset_bytes, (heads, rows // heads, rank))


def attention_of(shape: ModelShape) -> Attention:
    """The attention of the layers of `shape`."""
    return HeadAttention() if shape.latent is None else LatentAttention(shape.latent)


def _whole(source: Operand) -> tuple[Buffer, Size]:
    """Where a tensor begins."""
    view = as_view(source)
    return view.buffer, view.offset_bytes


def _split(s: Script, joined: Value, last: int) -> Pair:
    """All columns but the last ones, and those."""
    *axes, width = joined.shape
    assert isinstance(width, int), "widths are never open"
    first, second = s.results("split", joined, makes=[(joined.dtype, (*axes, size)) for size in (width - last, last)])
    assert isinstance(first, Value) and isinstance(second, Value)
    return first, second


def _rotated(s: Script, block: Layer, x: Value, dim: int, position: Size) -> Value:
    theta, factor = block.shape.rotation(block.layer)
    scaling = scaled(block.shape, block.layer)
    return s.op("rotary", x, head_dim=dim, position=position, theta=theta, factor=factor, **scaling)


def scaled(shape: ModelShape, layer: int) -> dict[str, Any]:
    """The attribute of a rotation that was scaled for longer contexts; empty where it was not."""
    scaling = shape.scaling(layer)
    return {"scaling": scaling} if scaling else {}
