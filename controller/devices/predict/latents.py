"""Questions about multi-head latent attention, its core without the projections around it."""

from __future__ import annotations

from typing import Final

from controller.devices.predict.question import Column, Prediction, Question, Sizes, ask_kernel, number
from node.hardware.device import DeviceSpec
from node.hardware.operation import ITEM_BYTES, Demand, TensorType
from node.hardware.operations import complete_attributes, operation

LATENT, ROPE, NOPE, VALUE = 512, 64, 128, 128
"""Widths of DeepSeek V2 and V3: latent, rotated part of a key, the other part, value."""


def decode_mla(spec: DeviceSpec, dtype: str, sizes: Sizes) -> Prediction:
    """One new token of each sequence over ``isl + step`` cached latents."""
    batch, heads, tokens, cached = _sizes(sizes)
    tokens += cached
    q, q_rope = (TensorType((batch, heads, width), dtype) for width in (LATENT, ROPE))
    latent, rope = (TensorType((batch, 1, tokens, width), dtype) for width in (LATENT, ROPE))
    entry = operation("latent_decode_attention")
    attributes = complete_attributes(entry, {"tokens": (tokens,), "scale": 1.0})
    outputs = (q, TensorType((batch, heads), "fp32"))
    return ask_kernel(spec, entry.demand((q, q_rope, latent, rope), outputs, attributes))


def prefill_mla(spec: DeviceSpec, dtype: str, sizes: Sizes) -> Prediction:
    """Causal attention of ``isl`` new tokens after ``step`` cached ones, whose latents are spread out before."""
    batch, heads, tokens, cached = _sizes(sizes)
    item = ITEM_BYTES[dtype]
    pairs = tokens * cached + tokens * (tokens + 1) // 2
    rows, keys = batch * heads * tokens, batch * heads * (tokens + cached)
    reads = (
        rows * (NOPE + ROPE) * item,
        keys * NOPE * item,
        batch * (tokens + cached) * ROPE * item,
        keys * VALUE * item,
    )
    writes = (rows * VALUE * item,)
    span = float(sum(reads) + sum(writes))
    dims = {
        "batch": batch, "heads": heads, "kv_heads": heads, "tokens": tokens, "cached": cached,
        "head_dim": NOPE + ROPE, "causal": 1.0, "window": 0, "pairs": pairs, "span": span, "near_span": span,
        # A kernel before turns the rotated part of queries and writes the latents.
        "prepare": 2 * batch * tokens * (heads * ROPE + LATENT + ROPE) * item,
    }  # fmt: skip
    flop = 2.0 * batch * heads * pairs * (NOPE + ROPE + VALUE)
    return ask_kernel(spec, Demand("latent_prefill", flop, reads, writes, dtype, "tensor", dims))


def _sizes(sizes: Sizes) -> tuple[int, int, int, int]:
    batch, heads, tokens, cached = (number(sizes, name) for name in ("batch_size", "num_heads", "isl", "step"))
    return batch, heads, tokens, cached


_COLUMNS: Final = (
    Column("batch_size", "sequences", 1, short=("batch",)),
    Column("isl", "tokens: of the prompt, or cached before decoding began", short=("tokens",)),
    Column("step", "tokens beside isl: cached before the prompt, or decoded since", 0, 0),
    Column("num_heads", "query heads on this rank", short=("heads",)),
)
LATENTS: Final = (
    Question("decode_mla", "One new token of each sequence over cached latents.", _COLUMNS, decode_mla),
    Question("prefill_mla", "Causal latent attention over a prompt.", _COLUMNS, prefill_mla),
)
