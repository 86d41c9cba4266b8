"""What a user may choose of Fuyou."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Final

from controller.program.options import Choice, Count, Options, Parsed, Switch, option
from controller.strategies.fuyou.groups import SUB_GROUP_ELEMENTS
from node.hardware.units import parse

AUTO: Final = "auto"
ORDERS = ("optimised", "naive", "serial")


def _volume(text: str) -> int | None:
    return None if text == AUTO else int(parse(text, "bytes"))


@dataclass(frozen=True)
class FuyouOptions(Options):
    """What a user may choose; the volume that the paper's search finds is None [bytes]."""

    order: Choice = option("optimised", "how reads, Adam and writes of states follow one another", choices=ORDERS)
    swap_activations: Annotated[int | None, Parsed(_volume, f"a size, for example '34 GB', or {AUTO}")] = option(
        AUTO, f"volume that leaves each GPU, as '34 GB', or {AUTO} for the paper's search"
    )
    spill: Switch = option(True, "whether activations beyond main memory go to the drives")
    gpus: Count | None = option(None, "GPUs that train, each on its own batch", absent="all of the topology")
    sub_group: Count = option(
        SUB_GROUP_ELEMENTS, "elements that one Adam step takes, at most, unless a block has more", most=10**15
    )
