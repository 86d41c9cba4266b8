"""Jobs in miniature for detectors: healthy or struck, as lists of events."""

from __future__ import annotations

from functools import lru_cache

from controller.diagnosis.campaign import Campaign, CampaignSpec
from controller.topology.loader import load_topology


@lru_cache(maxsize=8)
def campaign(workload: str = "ring", ranks: int = 16, detectors: tuple[str, ...] = ("default",)) -> Campaign:
    """A campaign without entries of its own, on two hosts of eight GPUs."""
    topology = load_topology("h100_leaf_spine", (), ())
    return Campaign(CampaignSpec(topology, ranks, workload, 7, 0, detectors=detectors, healthy_hours=0.0))
