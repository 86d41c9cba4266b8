"""What a user may choose of fine-tuning with CXL memory."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from controller.program.options import Choice, Count, Options, Parsed, Size, option
from controller.strategies.cxl.placement import PLACEMENTS


def _weights(text: str) -> tuple[int, int]:
    dram, colon, card = text.partition(":")
    if not (
        colon and dram.isascii() and dram.isdigit() and card.isascii() and card.isdigit() and int(dram) * int(card)
    ):
        raise ValueError(text)
    return int(dram), int(card)


@dataclass(frozen=True)
class CxlFinetuneOptions(Options):
    """What a user may choose; weights are pages on DRAM and on each card in turn."""

    placement: Choice = option("cxl_aware", "where offloaded tensors lie", choices=tuple(PLACEMENTS))
    weights: Annotated[
        tuple[int, int], Parsed(_weights, "pages on DRAM and on each card in turn, both 1 or more, as 1:2")
    ] = option("1:1", "pages in turn on DRAM and on each card where both are used, as 1:2")
    dram_budget: Size | None = option(
        None, "DRAM that the placement may use, as '100 GiB'", absent="option cxl.dram_budget of the topology"
    )
    gpus: Count | None = option(None, "GPUs that train, each on its own batch", absent="all of the topology")
