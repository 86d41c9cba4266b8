"""Attention of a whole iteration on one rank: decodes over their contexts, chunks over what came before them."""

from __future__ import annotations

from controller.plan.ops import View
from controller.plan.script import Script, Value
from controller.plan.value import Place
from controller.serving.device_times.parts import IterationParts
from controller.serving.iteration_times import IterationLoad


def attention_of_rank(
    s: Script, parts: IterationParts, rank: int, layer: int, query: Value, load: IterationLoad
) -> Value:
    """Attention (tokens, h*d) of the queries of one rank, decodes first, then the chunks in their order."""
    shape, heads, dim = parts.shape, parts.heads[rank], parts.shape.head_dim
    kv_heads, width = parts.kv_heads[rank], parts.heads[rank] * parts.shape.head_dim
    device = parts.sharding.devices[rank]
    made = s.empty(Place(device, "hbm"), query.dtype, (load.tokens, width), partial=load.padding_tokens > 0)
    if load.rows:
        context = max(1, load.context_tokens // load.rows)
        keys, values = (View(pool, 0, (load.rows, kv_heads, context, dim)) for pool in parts.pools[rank])
        window = shape.window(layer)
        _, lse = s.results(
            "decode_attention", query.part(0, (load.rows, heads, dim)), keys, values,
            out=[made.part(0, (load.rows, heads, dim)), None], tokens=(context,),
            starts=(max(0, context - window),) if window else (), scale=shape.attention_scale,
        )  # fmt: skip
        assert isinstance(lse, Value)
        s.drop(lse)
    at = load.rows
    for tokens, before in load.chunks:
        window = shape.window(layer)
        seen = tokens + (min(before, window) if window else before)
        keys, values = (View(pool, 0, (seen, 1, kv_heads, dim)) for pool in parts.pools[rank])
        piece = (tokens, 1, heads, dim)
        sums = s.empty(Place(device, "hbm"), "fp32", piece[:-1], spare=True)
        s.results(
            "block_attention", query.part(at * width, piece), keys, values, out=[made.part(at * width, piece), sums],
            scale=shape.attention_scale, offset=seen - tokens,
        )  # fmt: skip
        at += tokens
    return made
