"""Blocks whose weights are elsewhere, fetched ahead of their use."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from controller.models.block import Block
from controller.offload.streamed import Streamed
from controller.plan.script import Script
from controller.plan.value import Place


def fetched_blocks(
    s: Script, blocks: Sequence[Block], to: Place, *, ahead: int = 2, label: str = "fetch weights"
) -> Iterator[Block]:
    """Each block with its weights in `to`, where they stay until its last op.

    Args:
        s: takes the transfers.
        blocks: in the order of their use, with weights in buffers anywhere.
        to: the tier that the weights come to.
        ahead: blocks in `to` at once: one in use, the others on their way.
        label: of the transfers.
    """
    there: dict[int, Block] = {}

    def fetch(turn: int) -> None:
        block = blocks[turn]
        # An arena for each turn: a fetch waits for the block whose place it takes, and for no activation.
        with s.staging("weights", turn, max(ahead, 1)):
            weights = {name: s.move(weight, to, label) for name, weight in block.weights.items()}
        there[turn] = replace(block, weights=weights)

    for turn in Streamed(range(len(blocks)), fetch, ahead=ahead):
        yield there.pop(turn)
