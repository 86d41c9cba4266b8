"""Tensors that come from their home ahead of their use, pass few places, and go back: one iterator.

    weights = Streamed(range(layers), read_from_drive, copy_to_gpu, ahead=2, back=send_gradients)
    for layer in weights:                        # fetched two ahead
        x = gpu.forward(s, layer, ...)           # then the next fetch, then what goes back

Each hop has `ahead` places that items take turns in, so that an item passes a hop when the one `ahead` before it has
left, which lets one more pass the hop before. Program order decides who waits for whom: a fetch is emitted after the
use of the item whose place it takes, never before.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Generic, TypeVar

Item = TypeVar("Item")


class Streamed(Generic[Item]):
    """Items on their way through hops."""

    def __init__(
        self,
        items: Sequence[Item],
        *through: Callable[[Item], object],
        ahead: int = 2,
        back: Callable[[Item], object] | None = None,
    ) -> None:
        """Fetches the first items.

        Args:
            items: in the order of their use.
            through: emits how an item passes each hop, from its home on.
            ahead: items in each hop at once; 0 to fetch an item only when it is used.
            back: emits what goes back after the use of an item and the next fetch.
        """
        self._items, self._through, self._ahead, self._back = items, through, ahead, back
        for hop in range(len(through)):
            for turn in range(ahead):
                self._pass(hop, turn)

    def __iter__(self) -> Iterator[Item]:
        """Each item when it is there; the next is fetched when the consumer comes back."""
        last = len(self._through) - 1
        for turn, item in enumerate(self._items):
            if not self._ahead:
                for hop in self._through:
                    hop(item)
            yield item
            if self._ahead:
                self._pass(last, turn + self._ahead)
            if self._back is not None:
                self._back(item)

    def _pass(self, hop: int, turn: int) -> None:
        """The item of a turn passes a hop, and one more takes its place in the hop before."""
        if turn < len(self._items):
            self._through[hop](self._items[turn])
        if hop:
            self._pass(hop - 1, turn + self._ahead)
