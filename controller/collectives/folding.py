"""How algorithms for a power of two ranks run with any other number: the first ranks are folded in pairs."""

from __future__ import annotations


def folding(size: int) -> tuple[list[int], list[tuple[int, int]]]:
    """The ranks that exchange, a power of two of them, and the pairs (who leaves, who stays for both).

    Who leaves follows the one who stays, so that what the two own lies side by side.
    """
    extra = size - (1 << (size.bit_length() - 1))
    folded = [(2 * index + 1, 2 * index) for index in range(extra)]
    away = {rank for rank, _ in folded}
    return [rank for rank in range(size) if rank not in away], folded
