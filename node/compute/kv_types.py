"""Keys, values and latents in the type of their cache, and back."""

from __future__ import annotations

import torch
from torch import Tensor

from node.hardware.kv_types import INT8_RANGE

_SCALE = INT8_RANGE / 127.0


def to_cache(x: Tensor, cached: torch.dtype) -> Tensor:
    """`x` rounded to a type of caches; what is beyond the largest number of a type becomes that."""
    if x.dtype == cached:
        return x
    if cached == torch.int8:
        return (x.float() / _SCALE).round_().clamp_(-127.0, 127.0).to(torch.int8)
    if cached == torch.float8_e4m3fn:
        most = torch.finfo(cached).max
        return x.float().clamp(-most, most).to(cached)
    return x.to(cached)


def from_cache(x: Tensor) -> Tensor:
    """What is cached, in fp32."""
    return x.float() * _SCALE if x.dtype == torch.int8 else x.float()
