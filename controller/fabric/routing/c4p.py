"""C4P: a master gives every connection its path, so that each uplink carries as many, over all jobs.

Paper: Dong et al., Boosting large-scale parallel training efficiency with C4, arXiv 2406.04594.
Follows: probing leaves a catalogue of the paths that work; a NIC's ports send equal shares, and what leaves on one port
    arrives on the one of the same name, left on left; every connection gets the path whose fullest link carries least,
    counted over all jobs that asked before; after a link has failed, connections that a dead path would have served
    spread over those that are left.
Differs: a connection is two devices, whatever number of queue pairs it has, and after a failure bytes are spread evenly
    instead of shifted step by step to the faster queue pair: the end of that shifting in a fluid model.
Checked by: tests/unit/controller/fabric/routing/test_c4p.py, `windtunnel reproduce c4`
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction

from controller.fabric.routing.flow import Flow, Shares


class C4P:
    """Keeps account of what every link carries, over all plans of a run."""

    def __init__(self) -> None:
        self._load: dict[str, Fraction] = {}
        self._given: dict[tuple[str, str, tuple[int, ...]], Shares] = {}

    def assign(self, flows: Sequence[Flow]) -> Sequence[Shares]:
        return [self._of(flow) for flow in flows]

    def _of(self, flow: Flow) -> Shares:
        key = (flow.source, flow.destination, flow.up)
        if key not in self._given:
            for known in [each for each in self._given if each[:2] == key[:2]]:
                self._count(flow, self._given.pop(known), -1)
            self._given[key] = self._choose(flow)
            self._count(flow, self._given[key], 1)
        return self._given[key]

    def _choose(self, flow: Flow) -> Shares:
        by_port: dict[str, list[int]] = {}
        for number in flow.up:
            by_port.setdefault(flow.paths[number].hops[0].resource, []).append(number)
        for port, numbers in by_port.items():
            straight = [number for number in numbers if _is_straight(flow, number)]
            by_port[port] = straight or numbers
        part = Fraction(1, len(by_port))
        taken: dict[str, Fraction] = {}
        found: dict[int, Fraction] = {}
        for port, numbers in sorted(by_port.items()):
            best = min(numbers, key=lambda number: (*self._fullness(flow, number, taken, part), number))
            arrival = flow.paths[best].hops[-1].resource
            # A path that failed leaves the others between the same ports to carry what it did, in equal parts.
            alike = [number for number in numbers if flow.paths[number].hops[-1].resource == arrival]
            chosen = alike if len(alike) < self._catalogued(flow, port, arrival) else [best]
            for number in chosen:
                found[number] = part / len(chosen)
                for hop in flow.paths[number].hops:
                    taken[hop.resource] = taken.get(hop.resource, Fraction(0)) + part / len(chosen)
        return tuple(sorted(found.items()))

    def _catalogued(self, flow: Flow, port: str, arrival: str) -> int:
        """Paths from a port to another, those that have failed included."""
        return sum(path.hops[0].resource == port and path.hops[-1].resource == arrival for path in flow.paths)

    def _fullness(
        self, flow: Flow, number: int, taken: Mapping[str, Fraction], part: Fraction
    ) -> tuple[Fraction, Fraction]:
        loads = [
            self._load.get(hop.resource, Fraction(0)) + taken.get(hop.resource, Fraction(0)) + part
            for hop in flow.paths[number].hops
        ]
        return max(loads), sum(loads, Fraction(0))

    def _count(self, flow: Flow, shares: Shares, sign: int) -> None:
        for number, part in shares:
            for hop in flow.paths[number].hops:
                self._load[hop.resource] = self._load.get(hop.resource, Fraction(0)) + sign * part


def _is_straight(flow: Flow, number: int) -> bool:
    """Whether a path arrives at a port of the same name as it leaves from."""
    hops = flow.paths[number].hops
    return hops[0].tail.port == hops[-1].head.port


def c4p(options: Mapping[str, str]) -> C4P:
    """The policy; it has no options."""
    return C4P()
