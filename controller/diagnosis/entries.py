"""What a campaign injects: entries drawn from a seed, each with what is true about it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from controller.diagnosis.errors import BadCampaign
from controller.topology.nearest import hint

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
LEAST_OF_TWO = 1.6
"""Least severity of faults that strike in pairs."""
TWO_EVERY = 10
"""One entry of so many has two faults at once, both slow devices."""
RATES: Mapping[str, Mapping[str, float]] = {
    # faults.md 1.1: faulty GPU, HBM, SRAM, processor, host parts kill; software and the watchdog hang; network and NIC.
    "meta_llama3": {"kill": 148 + 72 + 19 + 17 + 3 + 3 + 2 + 2 + 2 + 2, "hang": 54 + 7 + 2, "dead_link": 35 + 7,
                    "corrupt": 6, "slow": 6},
    # faults.md 1.3: GPU and power supply kill, unknown hangs, cable and NIC, fan throttles.
    "stepfun": {"kill": 158 + 26, "hang": 144, "dead_link": 40 + 30, "slow": 33},
    # c4.md, crash causes: CUDA and ECC/NVLink kill, NCCL timeout hangs, ACK timeout and other network.
    "c4_june": {"kill": 0.40, "hang": 0.20, "dead_link": 0.40},
    # faults.md 1.6, jobs of one and of four nodes: CPU and GPU are slow devices, congestion is bandwidth.
    "greyhound": {"slow": 7, "bandwidth": 42},
}  # fmt: skip
"""How often each kind strikes, by source; only the proportions count."""


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
        return f"two {self.faults[0].kind}" if len(self.faults) > 1 else self.faults[0].kind

    @property
    def severity(self) -> float:
        """The least of its faults."""
        return min(fault.severity for fault in self.faults)


def draw_entries(
    count: int, seed: int, devices: tuple[str, ...], links: tuple[str, ...], rates: str | None
) -> tuple[CampaignEntry, ...]:
    """The entries of a campaign.

    Args:
        count: how many.
        seed: of what is drawn.
        devices: of the ranks.
        links: that may break.
        rates: proportions of kinds, of `RATES`; None for all kinds alike.

    Raises:
        BadCampaign: no such rates.
    """
    if rates is not None and rates not in RATES:
        raise BadCampaign(f"no rates {rates!r}{hint(rates, RATES, 'rates')}")
    weights = dict.fromkeys(KINDS, 1.0) if rates is None else dict(RATES[rates])
    kinds = list(weights)
    shares = np.array(list(weights.values()), np.float64)
    found = []
    for number in range(count):
        random = np.random.default_rng([seed, number, 0x656E])
        kind = str(random.choice(kinds, p=shares / shares.sum()))
        is_two = number % TWO_EVERY == TWO_EVERY - 1 and "slow" in weights and len(devices) > 3
        if is_two:
            pair = sorted(random.choice(len(devices), 2, replace=False).tolist())
            severities = [each for each in KINDS["slow"] if each >= LEAST_OF_TWO]
            faults = tuple(Injected("slow", devices[rank], float(random.choice(severities))) for rank in pair)
        else:
            names = links if kind in ON_LINKS else devices
            faults = (Injected(kind, names[int(random.integers(len(names)))], float(random.choice(KINDS[kind]))),)
        # A window of 20 steps is to show what is 1.6 times slower, one of 100 the rest.
        steps = 20 if min(fault.severity for fault in faults) >= LEAST_OF_TWO else 100
        found.append(CampaignEntry(number, faults, 45 + int(random.integers(20)), steps))
    return tuple(found)
