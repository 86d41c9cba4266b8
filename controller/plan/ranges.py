"""How things that do not divide evenly are spread: the one rule, for layers, heads, tokens and chunks."""

from __future__ import annotations

Range = tuple[int, int]


def even_ranges(count: int, parts: int, start: int = 0) -> tuple[Range, ...]:
    """`count` things in `parts` contiguous ranges whose sizes differ by one at most, larger ones first.

    Args:
        count: how many things; with fewer than `parts` the last ranges are empty.
        parts: how many ranges; at least 1.
        start: number of the first thing.
    """
    whole, rest = divmod(count, parts)
    ranges: list[Range] = []
    for part in range(parts):
        stop = start + whole + (1 if part < rest else 0)
        ranges.append((start, stop))
        start = stop
    return tuple(ranges)
