"""Faults that change values: one bit of a transfer on the local executor, as `node.runtime.strikes` does it on nodes.

A transfer is changed when it passes a part that is corrupt when its plan is submitted: a device or tier at its source
or destination, or a link of its route. Nothing else shows it: no time changes and no error is raised, so only a
comparison with the run without the fault, or a checksum of what left against what came, finds it.
"""

from __future__ import annotations

import zlib

import numpy as np
from numpy.typing import NDArray

from controller.faults.effects import EffectsOf
from controller.faults.targets import struck
from controller.faults.timeline import Timeline
from controller.plan.ops import Transfer
from controller.topology.fault import CORRUPT
from controller.topology.graph import route
from controller.topology.schema import Topology

SEED = 7
"""Of the transfers that are changed, and of their bits."""


class Corruption:
    """What changes bytes in a cluster.

    Attributes:
        changed: transfers that were changed so far.

    Args:
        topology: with its faults.
    """

    def __init__(self, topology: Topology) -> None:
        self._topology = topology
        declared = tuple(fault for fault in topology.faults if fault.kind == CORRUPT)
        self._effects = EffectsOf(Timeline(topology, declared)) if declared else None
        self._devices: dict[str, float] = {}
        self._tiers: dict[str, float] = {}
        self._links: dict[str, float] = {}
        self._routes: dict[tuple[str, str], frozenset[str]] = {}
        self._count = 0
        self.changed = 0

    def at(self, now: float) -> None:
        """What is corrupt from now on is that of an instant [s]."""
        if self._effects is None:
            return
        self._devices, self._tiers, self._links = {}, {}, {}
        for target, share in self._effects.at(now).corrupt.items():
            hit = struck(self._topology, target)
            parts: list[tuple[dict[str, float], str]] = [(self._devices, name) for name in hit.devices]
            if not hit.devices:
                parts += [(self._links, name) for name in hit.links]
                parts += [(self._tiers, f"{device}.{tier}") for device, tier in hit.tiers]
            for into, name in parts:
                into[name] = max(into.get(name, 0.0), share)

    def strike(self, transfer: Transfer, moved: NDArray[np.uint8]) -> None:
        """Changes one bit of what a transfer carries, or none.

        Args:
            transfer: that passes.
            moved: its bytes, of no buffer yet.
        """
        share = self._share(transfer) if self._devices or self._tiers or self._links else 0.0
        if not share or not moved.size:
            return
        self._count += 1
        draw = zlib.crc32(f"{SEED} {self._count}".encode())
        if draw >= share * 2**32:
            return
        self.changed += 1
        bit = zlib.crc32(draw.to_bytes(4, "little")) % (8 * moved.size)
        moved[bit // 8] ^= np.uint8(1 << bit % 8)

    def _share(self, transfer: Transfer) -> float:
        buffers = [view.buffer for view in (*transfer.sources, *transfer.destinations)]
        own = transfer.sources[0].buffer.device
        shares = [self._devices.get(buffer.device, 0.0) for buffer in buffers]
        shares += [self._tiers.get(f"{buffer.device}.{buffer.tier}", 0.0) for buffer in buffers]
        if self._links:
            for buffer in buffers:
                if buffer.device != own:
                    shares += [self._links.get(link, 0.0) for link in sorted(self._way(own, buffer.device))]
        return max(shares)

    def _way(self, source: str, target: str) -> frozenset[str]:
        if (source, target) not in self._routes:
            hops = route(self._topology, source, target).hops
            self._routes[source, target] = frozenset(hop.link.name for hop in hops)
        return self._routes[source, target]
