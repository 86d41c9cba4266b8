"""How decode attention is cut: by heads, over the ranks that project them and the memory devices that attend.

Source: Lamina (arXiv 2405.01814), section 5, for heads over memory devices.
"""

from __future__ import annotations

from dataclasses import dataclass

from controller.errors import BadWorkload
from controller.models.shape import ModelShape
from controller.plan.ranges import Range, even_ranges


@dataclass(frozen=True, slots=True)
class HeadPiece:
    """KV heads that one rank projects and one memory device attends over.

    Attributes:
        index: of the piece among all.
        rank: of every replica.
        memory: name of the memory device.
        kv: first KV head and end, of the whole model.
    """

    index: int
    rank: int
    memory: str
    kv: Range

    @property
    def kv_heads(self) -> int:
        """Number of KV heads."""
        return self.kv[1] - self.kv[0]


def pieces_of(shape: ModelShape, world: int, memories: tuple[str, ...]) -> tuple[HeadPiece, ...]:
    """The pieces of `world` ranks and some memory devices, by rank.

    Raises:
        BadWorkload: more memory devices than KV heads.
    """
    if len(memories) > shape.kv_heads:
        raise BadWorkload(
            f"{len(memories)} memory devices for {shape.kv_heads} KV heads of {shape.name}: attention is spread by "
            f"heads, so choose --dop with at most {shape.kv_heads} memory devices"
        )
    found: list[HeadPiece] = []
    for rank, mine in enumerate(even_ranges(shape.kv_heads, world)):
        for memory, theirs in zip(memories, even_ranges(shape.kv_heads, len(memories)), strict=True):
            start, stop = max(mine[0], theirs[0]), min(mine[1], theirs[1])
            if start < stop:
                found.append(HeadPiece(len(found), rank, memory, (start, stop)))
    return tuple(found)
