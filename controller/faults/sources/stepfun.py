"""Fault traces in the JSON of StepFun's InfiniteHBD-Trace: when which server was out of service, and why.

A list of events, ascending in time: ``node_id``, ``event_time`` [days], ``event_type`` (``fault_start`` or
``fault_end``) and ``fault_type`` with ``Level``, ``Class`` and ``Desc``. Faults of one server may overlap and cross: an
end belongs to the oldest open fault of its type, of its class where no type is the same, and of the server otherwise.
A server is out of service while any of its faults is open.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from math import isfinite
from pathlib import Path
from typing import Any

from controller.errors import BadTopology
from controller.topology.fault import DEAD, Component, Fault
from controller.topology.schema import Topology

DAY_S = 86400.0
_BETWEEN = " \t\r\n,"
_EXAMPLE = (
    "write an object with node_id, event_time in days, event_type fault_start or fault_end, and fault_type with Level, "
    "Class and Desc"
)


@dataclass(frozen=True, slots=True)
class Outage:
    """One fault of one server.

    Attributes:
        node: its name in the trace.
        start_s, end_s: instants since the beginning of the trace [s]; None: it was open when the trace ended.
        level, cause, description: as the trace has them.
        line: of its start.
    """

    node: str
    start_s: float
    end_s: float | None
    level: str
    cause: str
    description: str
    line: int


def read_stepfun(path: Path) -> tuple[Outage, ...]:
    """The outages of a trace, in the order of their starts.

    Raises:
        BadTopology: no such list, or an event that cannot be one; file, line and what to write.
    """
    found: list[Outage] = []
    open_faults: dict[str, list[int]] = {}
    before_s = 0.0
    for line, event in _events(path):
        where = f"{path}:{line}"
        node, at_s, kind, (level, cause, description) = _fields(event, where)
        if at_s < before_s:
            raise BadTopology(
                f"{where}: an event at {at_s / DAY_S:g} days after one at {before_s / DAY_S:g}; sort the events by "
                f"event_time"
            )
        before_s = at_s
        own = open_faults.setdefault(node, [])
        if kind == "fault_start":
            own.append(len(found))
            found.append(Outage(node, at_s, None, level, cause, description, line))
        else:
            if not own:
                raise BadTopology(
                    f"{where}: a fault of {node} ends that never began; write its fault_start before, or remove it"
                )
            index = _ended(own, found, (level, cause, description))
            own.remove(index)
            found[index] = replace(found[index], end_s=at_s)
    return tuple(found)


def outages_on(topology: Topology, outages: Sequence[Outage]) -> tuple[Fault, ...]:
    """Outages as hosts of a topology that are dead for so long; the servers are its hosts, in order of appearance.

    Overlapping outages of one server are one, and one of no length is none.

    Raises:
        BadTopology: more servers than hosts.
    """
    hosts = tuple(dict.fromkeys(device.host for device in topology.devices.values()))
    nodes = tuple(dict.fromkeys(outage.node for outage in outages))
    if len(nodes) > len(hosts):
        raise BadTopology(
            f"the trace has faults of {len(nodes)} servers and {topology.name} has {len(hosts)} hosts; declare a "
            f"topology of as many"
        )
    host_of = dict(zip(nodes, hosts, strict=False))
    merged: dict[str, list[Outage]] = {}
    for outage in outages:
        if outage.end_s is not None and outage.end_s <= outage.start_s:
            continue
        own = merged.setdefault(outage.node, [])
        last = own[-1] if own else None
        if last is not None and (last.end_s is None or outage.start_s <= last.end_s):
            end_s = None if last.end_s is None or outage.end_s is None else max(last.end_s, outage.end_s)
            own[-1] = replace(last, end_s=end_s)
        else:
            own.append(outage)
    faults = [
        Fault(
            Component("host", host_of[outage.node]),
            DEAD,
            1.0,
            outage.start_s,
            None if outage.end_s is None else outage.end_s - outage.start_s,
            text=f"{outage.cause}: {outage.description}",
        )
        for own in merged.values()
        for outage in own
    ]
    return tuple(sorted(faults, key=lambda fault: fault.at_s))


def _ended(own: Sequence[int], found: Sequence[Outage], kind: tuple[str, str, str]) -> int:
    """Which of the open faults an end belongs to."""
    for index in own:
        if (found[index].level, found[index].cause, found[index].description) == kind:
            return index
    return next((index for index in own if found[index].cause == kind[1]), own[0])


def _events(path: Path) -> Iterator[tuple[int, Any]]:
    """(line, event) of every entry of the list."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise BadTopology(f"{path}: cannot be read: {error.strerror}; give a readable JSON file") from error
    except UnicodeDecodeError as error:
        raise BadTopology(f"{path}: byte {error.start} is not UTF-8; save the file as UTF-8 text") from error
    position = _skip(text, 0)
    if not text.startswith("[", position):
        raise BadTopology(
            f"{path}:{1 + text.count(chr(10), 0, position)}: a trace is a JSON list of events; {_EXAMPLE}"
        )
    decoder = json.JSONDecoder()
    line, counted = 1, 0
    position = _skip(text, position + 1)
    while not text.startswith("]", position):
        line += text.count("\n", counted, position)
        counted = position
        try:
            event, end = decoder.raw_decode(text, position)
        except (json.JSONDecodeError, RecursionError) as error:
            at = error.lineno if isinstance(error, json.JSONDecodeError) else line
            raise BadTopology(f"{path}:{at}: this is not JSON: {error}; {_EXAMPLE}") from None
        yield line, event
        position = _skip(text, end)


def _skip(text: str, position: int) -> int:
    while position < len(text) and text[position] in _BETWEEN:
        position += 1
    return position


def _fields(event: Any, where: str) -> tuple[str, float, str, tuple[str, str, str]]:
    if not isinstance(event, dict):
        raise BadTopology(f"{where}: {str(event)[:80]!r} is no event; {_EXAMPLE}")
    node, at_days, kind, what = (event.get(key) for key in ("node_id", "event_time", "event_type", "fault_type"))
    if not isinstance(node, str) or not node:
        raise BadTopology(f"{where}: node_id is {node!r}; write the name of a server as text")
    if isinstance(at_days, bool) or not isinstance(at_days, int | float) or not (isfinite(at_days) and at_days >= 0):
        raise BadTopology(f"{where}: event_time is {at_days!r}; write a number of days, 0 or more")
    if kind not in ("fault_start", "fault_end"):
        raise BadTopology(f"{where}: event_type is {kind!r}; write fault_start or fault_end")
    if not isinstance(what, dict):
        raise BadTopology(f"{where}: fault_type is {what!r}; write an object with Level, Class and Desc")
    level, cause, description = (str(what.get(key, "")) for key in ("Level", "Class", "Desc"))
    return node, float(at_days) * DAY_S, kind, (level, cause, description)
