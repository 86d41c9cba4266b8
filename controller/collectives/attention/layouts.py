"""Which tokens a rank holds, and what the queries of one rank see of the keys of another.

Without a causal mask everything sees everything, and a layout only says which tokens lie where. With one, rank ``i``
under a contiguous layout has ``i + 1`` blocks to do while the last rank has all of them; striped and mirrored layouts
give every pair of ranks half a block.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from controller.collectives.attention.call import AttentionCall

Positions = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class AttentionBlock:
    """Some queries of one rank over some keys of another, as ranges of their own tokens.

    Attributes:
        queries, keys: first token and end.
        causal: whether query ``i`` of the range sees keys up to ``i + offset`` alone.
        offset: see there.
    """

    queries: tuple[int, int]
    keys: tuple[int, int]
    causal: bool = False
    offset: int = 0


@dataclass(frozen=True, slots=True)
class Layout:
    """How the tokens of a sequence are dealt out.

    Attributes:
        parts: of how many equal parts each rank holds how many: the parts of a rank.
        positions: the tokens of a rank, in the order in which it holds them (t).
        masked: under a causal mask, what rank ``i`` asks of rank ``j``; None for nothing.
    """

    parts: int
    positions: Callable[[AttentionCall, int], Positions]
    masked: Callable[[AttentionCall, int, int], AttentionBlock | None]

    def block(self, call: AttentionCall, asking: int, asked: int) -> AttentionBlock | None:
        """What the queries of `asking` see of the keys of `asked`; None for nothing."""
        if call.causal:
            return self.masked(call, asking, asked)
        return AttentionBlock((0, call.rank_tokens), (0, call.rank_tokens))


def _whole(call: AttentionCall, causal: bool = False, offset: int = 0) -> AttentionBlock:
    return AttentionBlock((0, call.rank_tokens), (0, call.rank_tokens), causal, offset)


def _contiguous_positions(call: AttentionCall, rank: int) -> Positions:
    return np.arange(rank * call.rank_tokens, (rank + 1) * call.rank_tokens)


def _contiguous_block(call: AttentionCall, asking: int, asked: int) -> AttentionBlock | None:
    if asked > asking:
        return None
    return _whole(call, causal=asked == asking)


def _striped_positions(call: AttentionCall, rank: int) -> Positions:
    return np.arange(rank, call.tokens, call.world_size)


def _striped_block(call: AttentionCall, asking: int, asked: int) -> AttentionBlock | None:
    """Token ``a`` of `asking` sees token ``b`` of `asked` if ``b < a``, or ``b == a`` and the rank is no higher."""
    if asked <= asking:
        return _whole(call, causal=True)
    return _whole(call, causal=True, offset=-1) if call.rank_tokens > 1 else None


def _mirrored_positions(call: AttentionCall, rank: int) -> Positions:
    chunk = call.rank_tokens // 2
    early, late = rank * chunk, (2 * call.world_size - 1 - rank) * chunk
    return np.concatenate([np.arange(early, early + chunk), np.arange(late, late + chunk)])


def _mirrored_block(call: AttentionCall, asking: int, asked: int) -> AttentionBlock:
    """Of a lower rank it sees the early chunk; of a higher one only its late chunk sees anything, and that both."""
    tokens, chunk = call.rank_tokens, call.rank_tokens // 2
    if asked == asking:
        return _whole(call, causal=True)
    if asked < asking:
        return AttentionBlock((0, tokens), (0, chunk))
    return AttentionBlock((chunk, tokens), (0, tokens))


CONTIGUOUS = Layout(1, _contiguous_positions, _contiguous_block)
"""Rank ``i`` holds the i-th part."""
STRIPED = Layout(1, _striped_positions, _striped_block)
"""Rank ``i`` holds every n-th token, from token ``i`` on."""
MIRRORED = Layout(2, _mirrored_positions, _mirrored_block)
"""Rank ``i`` holds parts ``i`` and ``2n - 1 - i`` of ``2n``."""
