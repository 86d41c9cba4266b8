"""Draws a campaign of disturbances from one seed: what happens, to whom, and after how much progress."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

KINDS = (
    "kill_node",
    "stop_short",
    "stop_long",
    "file_limit",
    "slow_drive",
    "cut_stream",
    "kill_controller",
    "flood",
    "garbage",
    "power_cut",
)
VICTIMS = {"decode": ("csd0", "csd1", "gpu"), "train": ("ssd0", "ssd1", "gpu0")}
"""Whom an entry may strike, by what runs."""
DRIVES = {"decode": ("csd0", "csd1"), "train": ("ssd0", "ssd1")}
OF_DRIVES = ("file_limit", "slow_drive")
"""Kinds that strike drives alone."""
WAYS, SHARES = ("plain", "pace", "ray"), (0.55, 0.3, 0.15)
"""How a run may be started, and how often: as it is, held to declared speeds, on a Ray cluster of its own."""
ON_RAY = ("kill_node", "stop_short", "stop_long", "kill_controller")
"""Kinds that strike processes; a stranger's client is not admitted to nodes that listen beyond their machine."""
OUTAGES = ("csd0", "csd1", "both", "controller")
"""Who goes down in a power cut while two drives commit together."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One disturbance of one live run; `progress` is the share of the run's steps after which it strikes, in (0, 1).

    `work` is "decode" or "train", and "drives", where two drives commit together, for the kind "power_cut" alone.
    `way` is one of WAYS; on Ray there is decoding alone, under the kinds of ON_RAY.
    """

    index: int
    kind: str
    work: str
    victim: str
    progress: float
    seed: int
    way: str = "plain"


def entry(seed: int, index: int) -> Entry:
    """Draw entry `index` of a seed without drawing those before it; each len(KINDS) entries hold every kind once."""
    cycle, place = divmod(index, len(KINDS))
    kind = KINDS[int(np.random.default_rng([seed, 0, cycle]).permutation(len(KINDS))[place])]
    draw = np.random.default_rng([seed, 1, index])
    work = "drives" if kind == "power_cut" else str(draw.choice(tuple(VICTIMS)))
    victim = "controller" if kind == "kill_controller" else str(draw.choice(_victims(kind, work)))
    one = Entry(index, kind, work, victim, float(draw.uniform(0.05, 0.95)), int(draw.integers(2**31)))
    way = str(np.random.default_rng([seed, 2, index]).choice(WAYS, p=SHARES))
    if work == "drives" or (way == "ray" and (work != "decode" or kind not in ON_RAY)):
        return one
    return replace(one, way=way)


def _victims(kind: str, work: str) -> tuple[str, ...]:
    if work == "drives":
        return OUTAGES
    return (DRIVES if kind in OF_DRIVES else VICTIMS)[work]


def schedule(seed: int) -> Iterator[Entry]:
    """Draw the entries of a seed in order, without end."""
    index = 0
    while True:
        yield entry(seed, index)
        index += 1
