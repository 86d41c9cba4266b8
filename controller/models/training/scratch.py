"""Room for what a pass keeps only for itself: one arena that every layer uses again.

Each tensor has its place from the step that makes it to the last that reads it; the first gap that is large enough
takes it, so the arena is as large as the fullest moment and a little more, as that of a caching allocator.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from controller.models.training.recipe import Step

ALIGNMENT = 256
"""Of every tensor [bytes], as torch's caching allocator rounds small ones (512) and kernels like their operands."""


@dataclass(frozen=True, slots=True)
class Room:
    """Where tensors lie in the arena.

    Attributes:
        offsets: name to first byte.
        nbytes: of the arena.
    """

    offsets: dict[str, int]
    nbytes: int


def assign(steps: Sequence[Step], kept: Collection[str], nbytes: Callable[[str], int]) -> Room:
    """Places for all tensors of `steps` that are neither weights, gradients of weights, nor in `kept`.

    Args:
        steps: of one pass.
        kept: names that have a place elsewhere.
        nbytes: size of a tensor [bytes].
    """
    first: dict[str, int] = {}
    last: dict[str, int] = {}
    for index, step in enumerate(steps):
        for name in (*step.outputs, *step.inputs):
            if name not in kept and name[:2] not in ("w:", "g:"):
                first.setdefault(name, index)
                last[name] = index
    offsets: dict[str, int] = {}
    total = 0
    for index, step in enumerate(steps):
        for name in step.outputs:
            if first.get(name) != index or name in offsets:
                continue
            size = _aligned(nbytes(name))
            offset = _inherited(step, name, index, offsets, last, nbytes)
            if offset is None:
                busy = sorted(
                    (offsets[other], offsets[other] + _aligned(nbytes(other)))
                    for other in offsets
                    if last[other] >= index
                )
                offset = _first_gap(busy, size)
            offsets[name] = offset
            total = max(total, offset + size)
    return Room(offsets, total)


def _inherited(
    step: Step,
    name: str,
    index: int,
    offsets: dict[str, int],
    last: dict[str, int],
    nbytes: Callable[[str], int],
) -> int | None:
    """The place of an input that ends here, for an output that may overwrite it; each place is inherited once."""
    if not step.in_place or name != step.outputs[0]:
        return None
    for source in reversed(step.inputs):
        if source in offsets and last[source] == index and nbytes(source) == nbytes(name):
            return offsets[source]
    return None


def _first_gap(busy: Sequence[tuple[int, int]], size: int) -> int:
    start = 0
    for low, high in busy:
        if low - start >= size:
            break
        start = max(start, high)
    return start


def _aligned(nbytes: int) -> int:
    return -(-nbytes // ALIGNMENT) * ALIGNMENT
