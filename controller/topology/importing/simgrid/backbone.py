"""A backbone that all traffic of a cluster passes once: a switch, and a cable to the router that leads elsewhere.

Half of its latency is on the link of each host, and the other half on the cable to the router, so that a message pays
the whole of it once, whether it stays in the cluster or leaves it.
"""

from __future__ import annotations

from controller.topology.importing.markup import Element
from controller.topology.importing.simgrid.cabling import Cabling
from controller.topology.importing.simgrid.units import latency_of_text


def lay_backbone(cabling: Cabling, router: str, element: Element, name: str, rate: str, latency: str) -> str:
    """The switch that hosts hang on, with its cable to the router.

    Args:
        cabling: where.
        router: by its name in the file.
        element: that says rate and latency.
        name: of the backbone.
        rate, latency: of it, as the file writes them.
    """
    cabling.sketch.notes.append("a backbone that holds nothing up; half of its latency is on each link of a host")
    middle = cabling.switch(name)
    half_s = latency_of_text(latency, element) / 2
    cabling.connect(cabling.switch(router), middle, element, name, rate, f"{half_s:.17g}s", "SPLITDUPLEX")
    return middle
