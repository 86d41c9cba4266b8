"""Fused attention of PyTorch, forward and backward.

Model: the device model of attention over a prompt, whose efficiency is that of the vendor's kernels, times how much of
it PyTorch's own kernels reach. PyTorch runs FlashAttention-2. Backward has five products where forward has two.
Source: Dao, 'FlashAttention-2', arXiv 2307.08691 (forward up to 73 %, backward up to 63 % of the peak of an A100); Shah
et al., 'FlashAttention-3', arXiv 2407.08608 (FlashAttention-2 reaches 35 % of an H100). PyTorch's efficient and math
kernels have no figure of their own and are taken as flash, math as products and softmax one by one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from controller.capture.lowering.bytes_of import nbytes, streaming
from controller.capture.trace import CallSignature
from node.hardware.operation import Demand

BACKWARD_PRODUCTS: Final = 2.5
"""FLOP of backward over those of forward."""
BACKWARD_SLOWER: Final = 73.0 / 63.0
"""Rate of forward over that of backward."""
FLASH2_HOPPER_SHARE: Final = 0.35
"""Share of the peak that FlashAttention-2 reaches on Hopper."""


def _sizes(call: CallSignature, first: int) -> tuple[dict[str, float], Any]:
    q, k = call.inputs[first], call.inputs[first + 1]
    batch, heads, tokens, dim = q.shape
    keys = k.shape[2]
    causal = any(value is True for _, value in call.values)
    pairs = tokens * (tokens + 1) // 2 if causal and keys == tokens else tokens * keys
    if causal and keys > tokens:
        pairs = tokens * (keys - tokens) + tokens * (tokens + 1) // 2
    dims: dict[str, float] = {
        "batch": batch, "heads": heads, "kv_heads": k.shape[1], "tokens": tokens, "head_dim": dim,
        "causal": float(causal), "window": 0, "pairs": pairs, "flash2": 1.0,
    }  # fmt: skip
    if keys != tokens:
        dims["keys"] = keys
    return dims, q


def forward(call: CallSignature) -> list[Demand]:
    """``_scaled_dot_product_*_attention(q, k, v)``."""
    dims, q = _sizes(call, 0)
    flop = 4.0 * dims["batch"] * dims["heads"] * dims["pairs"] * dims["head_dim"]
    reads = tuple(nbytes(each) for each in call.inputs[:3])
    return [Demand("prefill_attention", flop, reads, (nbytes(call.outputs[0]),), q.dtype, "tensor", dims)]


def backward(call: CallSignature) -> list[Demand]:
    """``_scaled_dot_product_*_attention_backward(grad, q, k, v, out, lse)``: a small kernel before, one after."""
    dims, q = _sizes(call, 1)
    flop = 4.0 * BACKWARD_PRODUCTS * dims["batch"] * dims["heads"] * dims["pairs"] * dims["head_dim"]
    dims["pairs"] *= BACKWARD_PRODUCTS * BACKWARD_SLOWER
    flop *= BACKWARD_SLOWER
    out, grad = call.inputs[4], call.inputs[0]
    reads = tuple(nbytes(each) for each in call.inputs[:5])
    writes = tuple(nbytes(each) for each in call.outputs[:3])
    accumulated = 2 * nbytes(q)  # the gradient of q is summed up in fp32
    return [
        streaming(nbytes(out) + nbytes(grad), 4 * q.elements // max(q.shape[-1], 1)),
        Demand("prefill_attention", flop, reads, writes, q.dtype, "tensor", dims),
        streaming(accumulated, nbytes(q)),
    ]


def flex_forward(call: CallSignature) -> list[Demand]:
    """``flex_attention(q, k, v, ...)``: its mask is taken as causal, and its rate, compiled, as that of flash."""
    return forward(replace(call, inputs=call.inputs[:3], values=(("is_causal", True),)))


def flex_backward(call: CallSignature) -> list[Demand]:
    """``flex_attention_backward(q, k, v, out, lse, grad, ...)``, as `flex_forward`."""
    q, k, v, out, lse, grad = call.inputs[:6]
    return backward(replace(call, inputs=(grad, q, k, v, out, lse), values=(("is_causal", True),)))


def library_share(constants: Mapping[str, float]) -> float:
    """What FlashAttention-2 reaches of the attention that a sheet describes."""
    known = constants.get("prefill_efficiency", 0.0)
    if constants.get("bulk_copies") and known > FLASH2_HOPPER_SHARE:
        return FLASH2_HOPPER_SHARE / known
    return 1.0
