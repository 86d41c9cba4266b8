"""What a campaign injects: entries drawn from a seed, each with what is true about it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

Severities = tuple[float, ...]
KINDS: Mapping[str, Severities] = {
    "hang": (1.0,),
    "kill": (1.0,),
    "freeze": (1.0,),
    "dead_link": (1.0,),
    "slow": (1.33, 1.6, 2.0, 4.0),
    "bandwidth": (1.33, 1.6, 2.0, 4.0),
    "corrupt": (1.0,),
}
"""Kinds of fault and how many times slower; 1 where there is no such number."""
ON_LINKS = ("dead_link", "bandwidth")
CLASSES: Severities = (1.0, 1.1, 1.33, 1.6, 2.0, 4.0)
"""What rows of results are grouped by: an entry belongs to the highest that its severity reaches."""
LEAST_OF_TWO = 1.6
"""Least severity of faults that strike in pairs."""
TWO_EVERY = 10
"""One entry of so many has two faults at once, both slow devices."""


@dataclass(frozen=True, slots=True, order=True)
class Injected:
    """One fault of an entry.

    Attributes:
        kind: of `KINDS`.
        target: name of the device or link.
        severity: times slower; 1 where there is no such number.
    """

    kind: str
    target: str
    severity: float


@dataclass(frozen=True, slots=True)
class CampaignEntry:
    """One run of a campaign.

    Attributes:
        number: of the entry, from 0.
        faults: that strike together.
        onset_step: first step that they strike.
        steps: how many steps they last.
    """

    number: int
    faults: tuple[Injected, ...]
    onset_step: int
    steps: int

    @property
    def kind(self) -> str:
        """What rows of results are grouped by."""
        count = len(self.faults)
        return self.faults[0].kind if count == 1 else f"{'two' if count == 2 else 'several'} {self.faults[0].kind}"

    @property
    def severity(self) -> float:
        """That of the least of its faults, as a class of `CLASSES`."""
        least = min(fault.severity for fault in self.faults)
        return max((each for each in CLASSES if each <= least), default=least)


def draw_entries(count: int, seed: int, devices: tuple[str, ...], links: tuple[str, ...]) -> tuple[CampaignEntry, ...]:
    """The entries of a campaign in which all kinds are as frequent; `drawn_entries` has those of published rates.

    Args:
        count: how many.
        seed: of what is drawn.
        devices: of the ranks.
        links: that may break.
    """
    kinds = list(KINDS)
    found = []
    for number in range(count):
        random = np.random.default_rng([seed, number, 0x656E])
        kind = str(random.choice(kinds, p=np.full(len(kinds), 1.0) / len(kinds)))
        is_two = number % TWO_EVERY == TWO_EVERY - 1 and len(devices) > 3
        if is_two:
            pair = sorted(random.choice(len(devices), 2, replace=False).tolist())
            severities = [each for each in KINDS["slow"] if each >= LEAST_OF_TWO]
            faults = tuple(Injected("slow", devices[rank], float(random.choice(severities))) for rank in pair)
        else:
            names = links if kind in ON_LINKS else devices
            faults = (Injected(kind, names[int(random.integers(len(names)))], float(random.choice(KINDS[kind]))),)
        found.append(entry_of(number, faults, random))
    return tuple(found)


def entry_of(number: int, faults: tuple[Injected, ...], random: np.random.Generator) -> CampaignEntry:
    """An entry that lasts for the window that is to show it: 20 steps from 1.6 times slower on, else 100."""
    steps = 20 if min(fault.severity for fault in faults) >= LEAST_OF_TWO else 100
    return CampaignEntry(number, faults, 45 + int(random.integers(20)), steps)
