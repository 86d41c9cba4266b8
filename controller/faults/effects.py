"""What a timeline means at an instant, as data: ratios, added latencies, and what is dead, frozen or corrupt.

Where several faults strike one part at once the worst counts: causes of the same effect are not multiplied.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from math import inf

from controller.faults.profile import Profile, profile
from controller.faults.targets import Struck, links_out, struck
from controller.faults.timeline import Timeline
from controller.topology.fault import (
    BANDWIDTH,
    CORRUPT,
    DEAD,
    FLAP,
    FROZEN,
    LOSS,
    READ_RETRIES,
    SLOW,
    Component,
    Fault,
)
from controller.topology.schema import Topology


@dataclass(frozen=True)
class Effects:
    """What is wrong at one instant; what is not named is as declared.

    Attributes:
        compute: speed of kernels by device, over the declared one.
        bandwidth: capacity by tier, port or link, over the declared one; 0: it carries nothing, as those of a device
            that is dead or frozen.
        reads: capacity of the read side by tier, over the declared one.
        added_latency_s: what a transfer over a link pays more [s].
        dead: components that are gone, those inside of others too.
        frozen: devices that stand still.
        corrupt: share of transfers with wrong values, by component.
    """

    compute: Mapping[str, float] = field(default_factory=dict)
    bandwidth: Mapping[Component, float] = field(default_factory=dict)
    reads: Mapping[Component, float] = field(default_factory=dict)
    added_latency_s: Mapping[Component, float] = field(default_factory=dict)
    dead: frozenset[Component] = frozenset()
    frozen: frozenset[str] = frozenset()
    corrupt: Mapping[Component, float] = field(default_factory=dict)

    @property
    def dead_devices(self) -> frozenset[str]:
        """Names of the devices among `dead`."""
        return frozenset(each.name for each in self.dead if each.kind == "device")

    @property
    def down_links(self) -> frozenset[str]:
        """Names of links that carry nothing."""
        return frozenset(each.name for each, ratio in self.bandwidth.items() if each.kind == "link" and ratio == 0.0)


class EffectsOf:
    """The effects of a timeline at any instant.

    Attributes:
        instants: at which anything changes, ascending [s].
    """

    def __init__(self, timeline: Timeline) -> None:
        self._topology = timeline.topology
        self._faults: list[tuple[Fault, Profile]] = [(fault, profile(fault)) for fault in timeline.faults]
        self.instants: tuple[float, ...] = tuple(sorted({at_s for _, levels in self._faults for at_s, _ in levels}))

    def at(self, at_s: float) -> Effects:
        """What is wrong from `at_s` [s] on, until the next of `instants`."""
        return _Sum(self._topology).of((fault, _level(levels, at_s)) for fault, levels in self._faults)

    def all(self) -> tuple[tuple[float, Effects], ...]:
        """The effects from each of `instants` on."""
        return tuple((at_s, self.at(at_s)) for at_s in self.instants)


def instants(timeline: Timeline) -> tuple[float, ...]:
    """The instants at which the effects of a timeline change, ascending [s]."""
    return EffectsOf(timeline).instants


def effects_at(timeline: Timeline, at_s: float) -> Effects:
    """What is wrong at `at_s` [s]; `EffectsOf` answers many instants."""
    return EffectsOf(timeline).at(at_s)


def _level(levels: Profile, at_s: float) -> float:
    index = bisect_right(levels, (at_s, inf))
    return levels[index - 1][1] if index else 0.0


class _Sum:
    """Effects as they come together."""

    def __init__(self, topology: Topology) -> None:
        self._topology = topology
        self._latency_of = {link.name: link.latency_s for link in topology.links}
        self.compute: dict[str, float] = {}
        self.bandwidth: dict[Component, float] = {}
        self.reads: dict[Component, float] = {}
        self.added_latency_s: dict[Component, float] = {}
        self.dead: set[Component] = set()
        self.frozen: set[str] = set()
        self.corrupt: dict[Component, float] = {}

    def of(self, faults: Iterable[tuple[Fault, float]]) -> Effects:
        for fault, level in faults:
            if level > 0.0:
                self._add(fault, level, struck(self._topology, fault.target))
        return Effects(
            self.compute, self.bandwidth, self.reads, self.added_latency_s, frozenset(self.dead),
            frozenset(self.frozen), self.corrupt,
        )  # fmt: skip

    def _add(self, fault: Fault, level: float, hit: Struck) -> None:
        severity = fault.severity
        if fault.kind == DEAD:
            self.dead |= {fault.target, *(Component("device", name) for name in hit.devices)}
            self._carry(hit, 0.0)
        elif fault.kind == FROZEN:
            self.frozen.update(hit.devices)
            self._carry(Struck(tiers=hit.tiers, ports=hit.ports), 0.0)
        elif fault.kind == SLOW:
            for device in hit.devices:
                self.compute[device] = min(self.compute.get(device, 1.0), 1.0 / (1.0 + (severity - 1.0) * level))
        elif fault.kind == FLAP:
            self._carry(hit, 0.0)
        elif fault.kind == BANDWIDTH:
            self._carry(self._network(fault, hit), 1.0 - (1.0 - severity) * level)
        elif fault.kind == LOSS:
            lost = severity * level
            network = self._network(fault, hit)
            self._carry(network, 1.0 - lost)
            for link in network.links:
                again_s = lost / (1.0 - lost) * 2.0 * self._latency_of[link]
                part = Component("link", link)
                self.added_latency_s[part] = max(self.added_latency_s.get(part, 0.0), again_s)
        elif fault.kind == READ_RETRIES:
            for device, tier in hit.tiers:
                if fault.target.kind == "tier" or self._is_flash(device, tier):
                    part = Component("tier", f"{device}.{tier}")
                    self.reads[part] = min(self.reads.get(part, 1.0), 1.0 / (1.0 + severity * level))
        elif fault.kind == CORRUPT:
            self.corrupt[fault.target] = max(self.corrupt.get(fault.target, 0.0), severity * level)

    def _network(self, fault: Fault, hit: Struck) -> Struck:
        """Of a device its ports alone, of a host or rack the links that leave it, of the rest all that it strikes."""
        if fault.target.kind in ("device", "process"):
            return Struck(ports=hit.ports)
        if fault.target.kind in ("host", "rack"):
            return Struck(links=links_out(self._topology, hit.links, hit.devices))
        if fault.target.kind in ("port", "nic") and hit.ports:
            return Struck(ports=hit.ports) if fault.kind != LOSS else hit
        return hit

    def _carry(self, hit: Struck, ratio: float) -> None:
        parts = [Component("tier", f"{device}.{tier}") for device, tier in hit.tiers]
        parts += [Component("port", f"{device}.{port}") for device, port in hit.ports]
        parts += [Component("link", link) for link in hit.links]
        for part in parts:
            self.bandwidth[part] = min(self.bandwidth.get(part, 1.0), ratio)

    def _is_flash(self, device: str, tier: str) -> bool:
        return self._topology.devices[device].spec.tiers[tier].storage == "flash"
