"""Memory that the kernel has swapped out: every access brings a few pages in, and waits for them.

Model: who reads a range that was swapped out faults page by page. A fault reads the pages around it up to a fixed
    number, in one request, and the thread waits for it; no other request is in flight meanwhile.
Source: Linux, Documentation/admin-guide/sysctl/vm.rst, page-cluster: 3 by default, which is 8 pages in one attempt.
Valid for: a range that is read once a step and does not fit: least recently used pages go first, so none is still there
    when its turn comes again.
Not modelled: what the fault itself takes on the CPU, several threads that fault at once, and writing pages out, which
    a cache that only grows needs once.
"""

from __future__ import annotations

from controller.plan.value import Place
from controller.topology.schema import Topology
from node.hardware.units import KIBI

PAGE_BYTES = 4 * KIBI
CLUSTER_PAGES = 8
"""Pages that a fault reads."""


def swap_in_bytes_per_s(topology: Topology, drive: Place) -> float:
    """Rate at which a thread that faults gets its pages back [bytes/s]."""
    tier = topology.devices[drive.device].spec.tiers[drive.tier]
    nbytes = PAGE_BYTES * CLUSTER_PAGES
    return nbytes / (tier.read_latency_s + nbytes / tier.read_bytes_per_s)
