"""Which attention kernel runs: PyTorch's own choice for a CUDA device, which a build without CUDA cannot make.

Order of PyTorch: flash, efficient, math, and cuDNN where the program asks for it alone. Flash takes half types, heads
of at most 256, no mask, and devices from compute capability 8.0 on; efficient takes fp32 and masks as well.
Source: PyTorch, aten/src/ATen/native/transformers/cuda/sdp_utils.cpp.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.nn import functional

MOST_HEAD = 256
"""Widest heads that flash attention takes."""

aten: Any = torch.ops.aten


def install_attention(capability: tuple[int, int]) -> None:
    """Replaces the entry point of attention."""
    place: Any = functional
    original = place.scaled_dot_product_attention
    cuda: Any = torch.backends.cuda

    def attention(
        query: Any, key: Any, value: Any, attn_mask: Any = None, dropout_p: float = 0.0, is_causal: bool = False,
        scale: float | None = None, enable_gqa: bool = False,
    ) -> Any:  # fmt: skip
        if torch.overrides.has_torch_function((query, key, value)) and type(query).__name__ != "DTensor":
            return torch.overrides.handle_torch_function(
                attention, (query, key, value), query, key, value, attn_mask, dropout_p, is_causal, scale, enable_gqa
            )
        is_half = query.dtype in (torch.float16, torch.bfloat16)
        fits = is_half and query.shape[-1] <= MOST_HEAD and attn_mask is None and capability >= (8, 0)
        more = {"scale": scale}
        if query.device.type == "cuda" and fits and cuda.flash_sdp_enabled():
            return aten._scaled_dot_product_flash_attention(query, key, value, dropout_p, is_causal, **more)[0]
        if query.device.type == "cuda" and enable_gqa and key.shape[1] != query.shape[1]:
            groups = query.shape[1] // key.shape[1]
            key, value = key.repeat_interleave(groups, 1), value.repeat_interleave(groups, 1)
        needs_grad = torch.is_grad_enabled() and query.requires_grad
        if query.device.type == "cuda" and cuda.mem_efficient_sdp_enabled():
            bias = _bias(attn_mask, query)
            return aten._scaled_dot_product_efficient_attention(
                query, key, value, bias, needs_grad, dropout_p, is_causal, **more
            )[0]
        if query.device.type == "cuda" and fits and cuda.cudnn_sdp_enabled() and not cuda.math_sdp_enabled():
            return aten._scaled_dot_product_cudnn_attention(
                query, key, value, None, needs_grad, dropout_p, is_causal, **more
            )[0]
        return original(query, key, value, attn_mask, dropout_p, is_causal, scale=scale, enable_gqa=enable_gqa)

    # Context parallel replaces the function again, by its name.
    attention.__name__ = attention.__qualname__ = original.__name__
    place.scaled_dot_product_attention = attention


def _bias(mask: Any, query: Any) -> Any:
    """A mask as numbers that are added to scores."""
    if mask is None:
        return None
    shape = (query.shape[0], query.shape[1], query.shape[2], mask.shape[-1])
    if mask.dtype is torch.bool:
        mask = torch.zeros_like(mask, dtype=query.dtype).masked_fill_(~mask, float("-inf"))
    return mask.expand(shape)
