"""Which pages of an instance's pool hold the keys and values of which request."""

from __future__ import annotations

from collections.abc import Container
from heapq import heapify, heappop, heappush

from controller.serving.kv_pool import KvExhausted


class PageTable:
    """Pages by number of the request, the lowest free one first.

    Attributes:
        page_tokens: tokens of a page.
    """

    def __init__(self, pages: int, page_tokens: int) -> None:
        self.page_tokens = page_tokens
        self._free = list(range(pages))
        heapify(self._free)
        self._pages: dict[int, list[int]] = {}

    def hold(self, number: int, tokens: int) -> list[int]:
        """The pages of a request, as many as `tokens` tokens take.

        Raises:
            KvExhausted: fewer are free; a pool that counts blocks never lets it come to this.
        """
        held = self._pages.setdefault(number, [])
        wanted = -(-tokens // self.page_tokens) - len(held)
        if wanted > len(self._free):
            raise KvExhausted(wanted, len(self._free))
        for _ in range(wanted):
            held.append(heappop(self._free))
        return held

    def pages(self, number: int) -> list[int]:
        """The pages that a request holds."""
        return self._pages.get(number, [])

    def release(self, number: int) -> None:
        """Gives the pages of a request back."""
        for page in self._pages.pop(number, ()):
            heappush(self._free, page)

    def keep(self, numbers: Container[int]) -> None:
        """Gives the pages of all other requests back."""
        for number in [number for number in self._pages if number not in numbers]:
            self.release(number)


def stretches(sources: list[int], targets: list[int]) -> list[tuple[int, int, int]]:
    """Pages that follow each other on both sides as one copy: (first source, first target, pages)."""
    found: list[tuple[int, int, int]] = []
    for source, target in zip(sources, targets, strict=True):
        if found:
            first, to, count = found[-1]
            if source == first + count and target == to + count:
                found[-1] = first, to, count + 1
                continue
        found.append((source, target, 1))
    return found
