"""How the weights of a layer are cut over the ranks of a tensor-parallel group: one rule, by the name of a weight.

q, k, v, gate and up are cut by their outputs (rows), o and down by their inputs (columns); norms are whole everywhere,
and so are the biases of what is added up over the ranks.
Source: Shoeybi et al., Megatron-LM, arXiv 1909.08053, section 3.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

ATTENTION = ("q", "k", "v")
BY_OUTPUT = (*ATTENTION, "gate", "up")
BY_INPUT = ("o", "down")


def cut_axis(within: str) -> int | None:
    """The axis of which every rank has a part, by the name of a weight within its layer; None where it has all."""
    matrix, _, kind = within.partition(".")
    if matrix in BY_OUTPUT or matrix in ("qkv", "kv"):
        return 0
    return 1 if matrix in BY_INPUT and kind == "weight" else None


def part_of(within: str, whole: Array, rank: int, ranks: int) -> Array:
    """What a rank has of a weight that ranks share evenly, by its name within the layer."""
    axis = cut_axis(within)
    return whole if axis is None else np.array_split(whole, ranks, axis)[rank]


def joined(within: str, of_ranks: Sequence[Array]) -> Array:
    """The whole weight, of the parts of all ranks."""
    axis = cut_axis(within)
    return of_ranks[0] if axis is None else np.concatenate(of_ranks, axis)


def name_within_layer(name: str) -> str:
    """``q.weight`` of ``layers.3.q.weight``; names outside of layers as they are."""
    return name.split(".", 2)[2] if name.startswith("layers.") else name
