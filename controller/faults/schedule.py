"""Links that fail or become slower in the middle of a run, written as texts.

==============================  ===================================================================================
``up0-1 @ 2 ms``                from 2 ms on the link carries nothing, in either direction
``up0-1 @ 2 ms : 5 ms``         until 5 ms
``up0-1 = 0.5 @ 2 ms``          from 2 ms on it carries half of what it is declared to
``up0-1 = 0.5 @ 0 s : 5 ms``    until 5 ms
==============================  ===================================================================================

Times are device time since the start of the run, or of each call of a collective. Several faults are joined by ``;``
in the option ``faults`` of a topology, which ``--fail`` and ``--degrade`` add to. Where faults of one link overlap the
worst one counts.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import inf

from controller.errors import BadTopology
from controller.topology.nearest import hint
from controller.topology.schema import Topology
from node.errors import BadQuantity
from node.hardware.units import parse

OPTION = "faults"
EXAMPLE = "write LINK@TIME, LINK@TIME:UNTIL or LINK=SHARE@TIME, for example 'up0-1=0.5@2 ms:5 ms'"


@dataclass(frozen=True, slots=True)
class Fault:
    """One declared fault.

    Attributes:
        text: as written.
        link: whose.
        share: of its capacity that is left; 0 when it has failed.
        at_s, until_s: from when on and until when [s]; inf for good.
    """

    text: str
    link: str
    share: float
    at_s: float
    until_s: float = inf


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


def parse_fault(text: str) -> Fault:
    """One fault from its text.

    Raises:
        BadTopology: no such form, a share that is not between 0 and 1, or times that cannot be.
    """
    what, at, when = text.rpartition("@")
    link, equals, share_text = (part.strip() for part in what.partition("="))
    if not at or not link:
        raise BadTopology(f"fault {text.strip()!r}: {EXAMPLE}")
    share = _share(text, share_text) if equals else 0.0
    start, colon, end = when.partition(":")
    at_s = _time(text, start)
    until_s = _time(text, end) if colon else inf
    if until_s <= at_s:
        raise BadTopology(f"fault {text.strip()!r} ends at {until_s:g} s, not after its beginning at {at_s:g} s")
    return Fault(text.strip(), link, share, at_s, until_s)


def faults_of(topology: Topology) -> tuple[Fault, ...]:
    """The faults that a topology declares in its option.

    Raises:
        BadTopology: as `parse_fault`, or a link that the topology lacks; names the nearest one.
    """
    texts = topology.options.get(OPTION, "")
    faults = tuple(parse_fault(text) for text in texts.split(";") if text.strip())
    if faults:
        known = {link.name: None for link in topology.links}
        for fault in faults:
            if fault.link not in known:
                raise BadTopology(f"fault {fault.text!r}: no link {fault.link!r}{hint(fault.link, known, 'links')}")
    return faults


def joined(failed: Iterable[str], degraded: Iterable[str]) -> str:
    """The value of the option for texts of ``--fail`` and ``--degrade``.

    Raises:
        BadTopology: as `parse_fault`, or a text that belongs to the other of the two.
    """
    texts: list[str] = []
    for text, must_fail in [(text, True) for text in failed] + [(text, False) for text in degraded]:
        if (parse_fault(text).share == 0.0) != must_fail:
            right = "--fail takes LINK@TIME without a share" if must_fail else "--degrade takes LINK=SHARE@TIME"
            raise BadTopology(f"fault {text!r}: {right}")
        texts.append(text.strip())
    return "; ".join(texts)


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


def without(options: Mapping[str, str], kept: Iterable[str]) -> dict[str, str]:
    """Options whose faults are those of the links in `kept` alone, for a part of a topology."""
    names = dict.fromkeys(kept)
    texts = [text for text in options.get(OPTION, "").split(";") if text.strip()]
    left = [text.strip() for text in texts if parse_fault(text).link in names]
    return {**options, OPTION: "; ".join(left)} if texts else dict(options)


def _time(text: str, given: str) -> float:
    try:
        return parse(given.strip(), "s")
    except BadQuantity as error:
        raise BadTopology(f"fault {text.strip()!r}: {error}") from error


def _share(text: str, given: str) -> float:
    try:
        share = float(given)
    except ValueError:
        share = -1.0
    if not 0.0 < share < 1.0:
        raise BadTopology(
            f"fault {text.strip()!r}: a link that is degraded keeps a share between 0 and 1, not {given!r}; "
            f"one that fails is written without a share"
        )
    return share
