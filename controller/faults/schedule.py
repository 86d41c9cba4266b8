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

from collections.abc import Iterable
from dataclasses import replace
from math import inf, nextafter

from controller.errors import BadTopology
from controller.topology.fault import BANDWIDTH, DEAD, Component, Fault
from node.errors import BadQuantity
from node.hardware.units import parse

EXAMPLE = "write LINK@TIME, LINK@TIME:UNTIL or LINK=SHARE@TIME, for example 'up0-1=0.5@2 ms:5 ms'"


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
    fault = Fault(Component("link", link), DEAD, 1.0, 0.0, text=text.strip(), where=where)
    if not at or not link:
        raise BadTopology(f"{fault}: {EXAMPLE}")
    if equals:
        fault = replace(fault, kind=BANDWIDTH, severity=_share(fault, share_text))
    at_s = _time(fault, start)
    until_s = _time(fault, end) if colon else inf
    if until_s <= at_s:
        raise BadTopology(f"{fault} ends at {until_s:g} s, not after its beginning at {at_s:g} s")
    return replace(fault, at_s=at_s, for_s=_length_s(at_s, until_s))


def parse_faults(failed: Iterable[str], degraded: Iterable[str]) -> tuple[Fault, ...]:
    """The faults that ``--fail`` and ``--degrade`` declare.

    Raises:
        BadTopology: as `parse_fault`, or a text that belongs to the other of the two options.
    """
    faults: list[Fault] = []
    for text, must_fail in [(text, True) for text in failed] + [(text, False) for text in degraded]:
        fault = parse_fault(text)
        if (fault.kind == DEAD) != must_fail:
            right = "--fail takes LINK@TIME without a share" if must_fail else "--degrade takes LINK=SHARE@TIME"
            raise BadTopology(f"{fault}: {right}")
        faults.append(fault)
    return tuple(faults)


def _length_s(at_s: float, until_s: float) -> float | None:
    """How long it lasts, so that ``at_s + length`` is `until_s` to the last bit."""
    if until_s == inf:
        return None
    length = until_s - at_s
    for near in (length, nextafter(length, inf), nextafter(length, 0.0)):
        if at_s + near == until_s:
            return near
    return length


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
