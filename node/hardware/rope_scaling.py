"""Inverse frequencies of a rotation that was scaled for longer contexts.

Source: YaRN, Peng et al. 2023, arXiv 2309.00071, section 3; LongRoPE, Ding et al. 2024, arXiv 2402.13753; Llama 3.1's
``apply_scaling``; all with the defaults of transformers (``modeling_rope_utils``).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import lru_cache
from math import ceil, floor, log, pi, sqrt
from typing import Any, Final

from node.errors import BadAttribute

KINDS: Final = ("llama3", "yarn", "longrope")
"""Kinds of scaling, as ``rope_type`` names them."""


@lru_cache(maxsize=64)
def scaled_frequencies(dim: int, theta: float, scaling: str, tokens: int) -> tuple[tuple[float, ...], float]:
    """Inverse frequencies of the pairs of a head, and the factor on cosines and sines.

    Args:
        dim: elements of a head that rotate.
        theta: base of the frequencies.
        scaling: JSON object with ``rope_type`` and its numbers; "" for none.
        tokens: of the text so far, by which ``longrope`` chooses.

    Raises:
        BadAttribute: a text that says no scaling.
    """
    plain = tuple(theta ** (-2.0 * i / dim) for i in range(dim // 2))
    if not scaling:
        return plain, 1.0
    try:
        found: Mapping[str, Any] = json.loads(scaling)
        kind = found["rope_type"]
        if kind == "llama3":
            return _llama3(plain, found), 1.0
        if kind == "yarn":
            return _yarn(plain, dim, theta, found)
        if kind == "longrope":
            return _longrope(plain, found, tokens)
    except (ValueError, KeyError, TypeError, ZeroDivisionError) as error:
        raise BadAttribute(f"scaling is {scaling!r}: {error!r}; give rope_type with its numbers") from error
    raise BadAttribute(f"scaling is {scaling!r}, expected rope_type {', '.join(KINDS)}")


def _llama3(plain: tuple[float, ...], found: Mapping[str, Any]) -> tuple[float, ...]:
    low, high, original = found["low_freq_factor"], found["high_freq_factor"], found["original_max_position_embeddings"]
    scaled = []
    for frequency in plain:
        length = 2 * pi / frequency
        if length < original / high:
            scaled.append(frequency)
        elif length > original / low:
            scaled.append(frequency / found["factor"])
        else:
            smooth = (original / length - low) / (high - low)
            scaled.append((1 - smooth) * frequency / found["factor"] + smooth * frequency)
    return tuple(scaled)


def _yarn(
    plain: tuple[float, ...], dim: int, theta: float, found: Mapping[str, Any]
) -> tuple[tuple[float, ...], float]:  # fmt: skip
    factor, original = found["factor"], found["original_max_position_embeddings"]

    def turns(rotations: float) -> float:
        return dim * log(original / (rotations * 2 * pi)) / (2 * log(theta))

    low, high = turns(found.get("beta_fast") or 32), turns(found.get("beta_slow") or 1)
    if found.get("truncate", True):
        low, high = floor(low), ceil(high)
    low, high = max(low, 0), min(high, dim - 1)
    width = (high - low) or 0.001
    kept = [1.0 - min(max((i - low) / width, 0.0), 1.0) for i in range(dim // 2)]
    mixed = tuple(f / factor * (1 - keep) + f * keep for f, keep in zip(plain, kept, strict=True))
    return mixed, _yarn_attention(factor, found)


def _yarn_attention(factor: float, found: Mapping[str, Any]) -> float:
    if found.get("attention_factor") is not None:
        return float(found["attention_factor"])
    first, second = found.get("mscale"), found.get("mscale_all_dim")
    if first and second:
        return yarn_mscale(factor, first) / yarn_mscale(factor, second)
    return yarn_mscale(factor, 1.0)


def yarn_mscale(factor: float, mscale: float) -> float:
    """Temperature of YaRN for contexts that are `factor` times longer."""
    return 0.1 * mscale * log(factor) + 1.0 if factor > 1 else 1.0


def _longrope(
    plain: tuple[float, ...], found: Mapping[str, Any], tokens: int
) -> tuple[tuple[float, ...], float]:  # fmt: skip
    original, factor = found["original_max_position_embeddings"], found["factor"]
    attention = found.get("attention_factor")
    if attention is None:
        attention = 1.0 if factor <= 1.0 else sqrt(1 + log(factor) / log(original))
    each = found["long_factor" if tokens > original else "short_factor"]
    if len(each) != len(plain):
        raise ValueError(f"{len(each)} factors for {len(plain)} pairs")
    return tuple(f / by for f, by in zip(plain, each, strict=True)), float(attention)
