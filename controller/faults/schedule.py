"""Links that fail or become slower in the middle of a run, written as texts.

==============================  ===================================================================================
``up0-1 @ 2 ms``                from 2 ms on the link carries nothing, in either direction
``up0-1 @ 2 ms : 5 ms``         until 5 ms
``up0-1 = 0.5 @ 2 ms``          from 2 ms on it carries half of what it is declared to
``up0-1 = 0.5 @ 0 s : 5 ms``    until 5 ms
==============================  ===================================================================================

Times are device time since the start of the run, or of each call of a collective. ``--fail`` and ``--degrade`` take
such texts, ``--faults`` a file of them (`file.py`). Where faults of one link overlap the worst one counts.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from math import inf

from controller.errors import BadTopology
from controller.topology.nearest import hint
from controller.topology.schema import Fault, Topology
from node.errors import BadQuantity
from node.hardware.units import parse

EXAMPLE = "write LINK@TIME, LINK@TIME:UNTIL or LINK=SHARE@TIME, for example 'up0-1=0.5@2 ms:5 ms'"


@dataclass(frozen=True, slots=True)
class Change:
    """What one link can carry from an instant on.

    Attributes:
        at_s: the instant [s].
        link: which.
        share: of its declared capacity, in both directions.
    """

    at_s: float
    link: str
    share: float


def parse_fault(text: str, where: str = "") -> Fault:
    """One fault from its text.

    Args:
        text: as in the table above.
        where: ``FILE:LINE`` for errors; "" on the command line.

    Raises:
        BadTopology: another form, a share that is not between 0 and 1, or times in the wrong order.
    """
    what, at, when = text.rpartition("@")
    link, equals, share_text = (part.strip() for part in what.partition("="))
    start, colon, end = when.partition(":")
    fault = Fault(text.strip(), link, 0.0, 0.0, inf, where)
    if not at or not link:
        raise BadTopology(f"{fault}: {EXAMPLE}")
    share = _share(fault, share_text) if equals else 0.0
    at_s = _time(fault, start)
    until_s = _time(fault, end) if colon else inf
    if until_s <= at_s:
        raise BadTopology(f"{fault} ends at {until_s:g} s, not after its beginning at {at_s:g} s")
    return replace(fault, share=share, at_s=at_s, until_s=until_s)


def parse_faults(failed: Iterable[str], degraded: Iterable[str]) -> tuple[Fault, ...]:
    """The faults that ``--fail`` and ``--degrade`` declare.

    Raises:
        BadTopology: as `parse_fault`, or a text that belongs to the other of the two options.
    """
    faults: list[Fault] = []
    for text, must_fail in [(text, True) for text in failed] + [(text, False) for text in degraded]:
        fault = parse_fault(text)
        if (fault.share == 0.0) != must_fail:
            right = "--fail takes LINK@TIME without a share" if must_fail else "--degrade takes LINK=SHARE@TIME"
            raise BadTopology(f"{fault}: {right}")
        faults.append(fault)
    return tuple(faults)


def with_faults(topology: Topology, faults: Iterable[Fault]) -> Topology:
    """`topology` with `faults` declared on it; its digest is another one, since times are.

    Raises:
        BadTopology: a link that the topology lacks; names the nearest one.
    """
    declared = tuple(faults)
    if not declared:
        return topology
    known = {link.name: None for link in topology.links}
    for fault in declared:
        if fault.link not in known:
            raise BadTopology(f"{fault}: no link {fault.link!r}{hint(fault.link, known, 'links')}")
    content = [topology.digest, *(f"{each.link} {each.share!r} {each.at_s!r} {each.until_s!r}" for each in declared)]
    digest = sha256("\n".join(content).encode()).hexdigest()
    return replace(topology, faults=declared, digest=digest)


def changes_of(faults: Sequence[Fault]) -> tuple[Change, ...]:
    """What every link can carry when, in order of time and, at one instant, of declaration."""
    of_link: dict[str, list[Fault]] = {}
    for fault in faults:
        of_link.setdefault(fault.link, []).append(fault)
    found: list[Change] = []
    for link, own in of_link.items():
        before = 1.0
        for at_s in sorted({time for fault in own for time in (fault.at_s, fault.until_s) if time < inf}):
            share = min((fault.share for fault in own if fault.at_s <= at_s < fault.until_s), default=1.0)
            if share != before:
                found.append(Change(at_s, link, share))
            before = share
    return tuple(sorted(found, key=lambda change: change.at_s))


def may_fail(faults: Sequence[Fault]) -> frozenset[str]:
    """Links that carry nothing at some time."""
    return frozenset(fault.link for fault in faults if fault.share == 0.0)


def _time(fault: Fault, given: str) -> float:
    try:
        return parse(given.strip(), "s")
    except BadQuantity as error:
        raise BadTopology(f"{fault}: {error}") from error


def _share(fault: Fault, given: str) -> float:
    try:
        share = float(given)
    except ValueError:
        share = -1.0
    if not 0.0 < share < 1.0:
        raise BadTopology(
            f"{fault}: a degraded link keeps a share between 0 and 1, not {given!r}; write a link that fails without "
            f"a share"
        )
    return share
