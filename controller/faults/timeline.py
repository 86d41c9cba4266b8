"""What fails when: the faults of a run, in order, checked against the topology that they strike.

``Timeline(topology, faults)`` resolves every target and refuses what contradicts itself. `controller.faults.effects`
says what a timeline means at an instant; `controller.faults.sources` read or draw the faults.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from math import inf, isfinite

from controller.errors import BadTopology
from controller.faults.kinds import KINDS
from controller.faults.profile import check_shape
from controller.faults.targets import component
from controller.topology.fault import CORRUPT, DEAD, FROZEN, Component, Fault, Shape
from controller.topology.nearest import hint
from controller.topology.schema import Topology

__all__ = ["Component", "Fault", "Shape", "Timeline", "checked", "with_faults"]

LONGEST_S = 1e9
"""The latest instant and the longest fault [s]: thirty years."""


@dataclass(frozen=True)
class Timeline:
    """The faults of a run.

    Attributes:
        topology: that they strike.
        faults: in the order of declaration, with their targets resolved.
    """

    topology: Topology
    faults: tuple[Fault, ...]

    @classmethod
    def of(cls, topology: Topology, faults: Iterable[Fault]) -> Timeline:
        """The checked timeline of `faults`; see `checked`."""
        return cls(topology, checked(topology, faults))


def checked(topology: Topology, faults: Iterable[Fault]) -> tuple[Fault, ...]:
    """`faults` with their targets resolved.

    Raises:
        BadTopology: a target that the topology lacks, a kind that does not strike it, a severity that makes no sense,
            a time that is negative, or two faults that contradict each other; file, line and what to write.
    """
    found = tuple(_checked(topology, fault) for fault in faults)
    _check_overlaps(found)
    return found


def with_faults(topology: Topology, faults: Iterable[Fault]) -> Topology:
    """`topology` with `faults` declared on it; its digest is another one, since times are.

    Raises:
        BadTopology: see `checked`.
    """
    declared = checked(topology, faults)
    if not declared:
        return topology
    content = "\n".join([topology.digest, *map(_content, declared)])
    return replace(topology, faults=declared, digest=sha256(content.encode()).hexdigest())


def _content(fault: Fault) -> str:
    return repr((fault.target, fault.kind, fault.severity, fault.at_s, fault.for_s, fault.shape))


def _checked(topology: Topology, fault: Fault) -> Fault:
    if fault.kind not in KINDS:
        raise BadTopology(f"{fault}: no kind of fault {fault.kind!r}{hint(fault.kind, KINDS, 'kinds')}")
    kind = KINDS[fault.kind]
    text = f"{fault.target.kind}:{fault.target.name}" if fault.target.kind else fault.target.name
    target = component(topology, text, f"{fault}: ")
    if target.kind not in kind.strikes:
        can = ", ".join(name for name, each in KINDS.items() if target.kind in each.strikes)
        raise BadTopology(
            f"{fault}: {fault.kind!r} strikes a {', '.join(kind.strikes)}; {target.name} is a {target.kind}, which "
            f"can be {can}: write another kind or target"
        )
    if not kind.above < fault.severity < kind.below:
        raise BadTopology(f"{fault}: a severity of {fault.severity:g}; write {kind.unit or 'none'}")
    check_times(fault)
    check_shape(fault)
    return replace(fault, target=target)


def check_times(fault: Fault) -> None:
    """Refuses a fault that begins before the run, lasts no time or goes on for more than thirty years.

    Raises:
        BadTopology: says which and what to write.
    """
    if not 0.0 <= fault.at_s <= LONGEST_S:
        raise BadTopology(f"{fault}: it begins at {fault.at_s:g} s; write a time of 0 s to {LONGEST_S:g} s")
    if fault.for_s is not None and not (isfinite(fault.for_s) and 0.0 < fault.for_s <= LONGEST_S):
        raise BadTopology(f"{fault}: it lasts {fault.for_s:g} s; write a time above 0 s, or none for good")


def _check_overlaps(faults: Sequence[Fault]) -> None:
    """Two faults of one component at once: the worse of one kind counts, but what is dead is nothing else besides."""
    by_target: dict[Component, list[Fault]] = {}
    for fault in faults:
        by_target.setdefault(_what(fault), []).append(fault)
    for own in by_target.values():
        for number, fault in enumerate(own):
            for other in own[:number]:
                if fault.at_s < other.until_s and other.at_s < fault.until_s:
                    _check_pair(other, fault)


def _what(fault: Fault) -> Component:
    """The component; a device and its process are one."""
    return replace(fault.target, kind="device") if fault.target.kind == "process" else fault.target


def _check_pair(first: Fault, second: Fault) -> None:
    kinds = {first.kind, second.kind}
    dead = first if first.kind == DEAD else second
    other = second if dead is first else first
    is_in_words = bool(first.where or second.where)
    if DEAD in kinds and other.kind in (FROZEN, CORRUPT):
        why = f"{first.target.name} is dead from {dead.at_s:g} s on and cannot be {other.kind} at the same time"
    elif len(kinds) == 1 and first.severity != second.severity and is_in_words and KINDS[first.kind].unit:
        why = f"{first.target.name} has {first.kind} {first.severity:g} and {second.severity:g} at the same time"
    elif len(kinds) == 1 and first == second and is_in_words:
        why = "it is declared twice"
    else:
        return
    end = "for good" if first.until_s == inf else f"until {first.until_s:g} s"
    raise BadTopology(
        f"{second}: {why}; {first} lasts from {first.at_s:g} s {end}: end the first with 'for', or remove one of them"
    )
