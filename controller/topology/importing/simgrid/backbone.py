"""A backbone that all traffic of a cluster passes once: a switch, and a cable to the router that leads elsewhere.

Half of its latency is on the link of each host, and the other half on the cable to the router, so that a message pays
the whole of it once, whether it stays in the cluster or leaves it. Where all hosts together could send more than it
carries, the links of the hosts pass it: what stays in the cluster takes its capacity too.
"""

from __future__ import annotations

from dataclasses import dataclass

from controller.topology.importing.markup import Element
from controller.topology.importing.simgrid.cabling import Cabling
from controller.topology.importing.simgrid.units import bandwidth_of, latency_of_text


@dataclass(frozen=True, slots=True)
class Backbone:
    """What a cluster says of its backbone.

    Attributes:
        element: that says it.
        name: of it.
        rate, latency: as the file writes them.
        policy: SHARED, SPLITDUPLEX or FATPIPE.
    """

    element: Element
    name: str
    rate: str
    latency: str
    policy: str

    @property
    def half_s(self) -> float:
        """Half of its latency [s]."""
        return latency_of_text(self.latency, self.element) / 2

    def holds_up(self, each: float, together: float) -> bool:
        """Whether hosts feel it of which the fastest sends `each` and all send `together` [bytes/s]."""
        own = bandwidth_of(self.rate, self.element)
        return own < each if self.policy.upper() == "FATPIPE" else own < 2 * together

    def lay(self, cabling: Cabling, router: str, *, passed: bool) -> tuple[str, tuple[str, ...]]:
        """The switch that hosts hang on, with its cable to the router, and what the links of hosts pass.

        Args:
            cabling: where.
            router: by its name in the file.
            passed: whether hosts feel it.
        """
        middle = cabling.switch(self.name)
        label = cabling.names.of(f"{self.name} link")
        policy = self.policy if passed else "SPLITDUPLEX"
        ends = cabling.switch(router), middle
        cabling.connect(*ends, self.element, self.name, self.rate, f"{self.half_s:.17g}s", policy, label)
        if not passed:
            cabling.sketch.notes.append(
                "a backbone that holds nothing up; half of its latency is on each link of a host"
            )
        return middle, (label,) if passed else ()


def backbone_of_cluster(element: Element) -> Backbone | None:
    """What the attributes ``bb_bw``, ``bb_lat`` and ``bb_sharing_policy`` of a <cluster> say."""
    if "bb_bw" not in element.attributes:
        return None
    said = element.attributes
    policy = said.get("bb_sharing_policy", "SHARED")
    return Backbone(element, f"{element.need('id')}_backbone", said["bb_bw"], said.get("bb_lat", "0"), policy)


def backbone_of_zone(element: Element | None) -> Backbone | None:
    """What a <backbone> says."""
    if element is None:
        return None
    policy = element.attributes.get("sharing_policy", "SHARED")
    return Backbone(element, element.need("id"), element.need("bandwidth"), element.need("latency"), policy)
