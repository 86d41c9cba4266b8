"""What breaks of a supernode in mid-service: instances, cache servers, and the links of a plane.

Instances go as in every cluster. A cache server takes the blocks with it that its memory held, and its share of the
ring goes to the others. Copies and reads that begin after a link broke take what is left; a die without any link counts
as dead.
Not modelled: that a decode step of an instance with a broken UB link exchanges over RDMA; copies under way go on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from controller.faults.effects import Effects
from controller.serving.clusters.pdc_cluster import PdcCluster
from controller.serving.loop import ServingLoop
from controller.serving.outages import ServingOutages
from controller.topology.fault import Component
from controller.topology.schema import Topology


class PdcOutages(ServingOutages):
    """Implements `Dispatcher` over the pools."""

    def __init__(
        self, pools: PdcCluster, effects: Sequence[tuple[float, Effects]], devices: Sequence[Sequence[str]],
        topology: Topology,
    ) -> None:  # fmt: skip
        """Outages that are still to come; a die is dead where all of its links are down."""
        links: dict[str, set[str]] = {}
        for link in topology.links:
            for end in (link.a.vertex, link.b.vertex):
                links.setdefault(end, set()).add(link.name)
        cut_off = [
            frozenset(Component("device", die) for group in devices for die in group if links[die] <= each.down_links)
            for _, each in effects
        ]
        whole = [(at, replace(each, dead=each.dead | cut)) for (at, each), cut in zip(effects, cut_off, strict=True)]
        super().__init__(pools, whole, devices)
        self._pools = pools

    def act(self, loop: ServingLoop, now: float) -> None:
        """Carries out the changes of this instant, those of memory and links first."""
        if self._effects and self._effects[0][0] <= now:
            effects = self._effects[0][1]
            for name in self._pools.strike(effects.dead_devices | effects.frozen, effects.down_links):
                self.log.append((now, -1, f"cache server {name} down"))
        super().act(loop, now)
