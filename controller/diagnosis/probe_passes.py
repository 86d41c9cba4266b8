"""Which pairs can be measured at once: no rank in two pairs of a pass.

A ring of an even number of ranks takes 2 passes, of an odd number 3, a binary tree at most 4.
"""

from __future__ import annotations

from collections.abc import Iterable

Pair = tuple[int, int]


def passes(pairs: Iterable[Pair]) -> tuple[tuple[Pair, ...], ...]:
    """Pairs, in either direction once, in as few passes as first fit along chains gives."""
    left = sorted({(min(pair), max(pair)) for pair in pairs if pair[0] != pair[1]})
    neighbours: dict[int, list[int]] = {}
    for a, b in left:
        neighbours.setdefault(a, []).append(b)
        neighbours.setdefault(b, []).append(a)
    colour: dict[Pair, int] = {}
    used: dict[int, set[int]] = {rank: set() for rank in neighbours}
    done: set[Pair] = set()
    for start in sorted(neighbours, key=lambda rank: (len(neighbours[rank]), rank)):
        stack = [start]
        while stack:
            rank = stack.pop()
            for other in sorted(neighbours[rank]):
                pair = (min(rank, other), max(rank, other))
                if pair in done:
                    continue
                done.add(pair)
                number = next(each for each in range(len(left)) if each not in used[rank] | used[other])
                colour[pair] = number
                used[rank].add(number)
                used[other].add(number)
                stack.append(other)
    count = max(colour.values(), default=-1) + 1
    return tuple(tuple(pair for pair in left if colour[pair] == number) for number in range(count))
