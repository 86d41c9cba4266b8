"""A run as a Chrome trace, which ui.perfetto.dev, chrome://tracing and the tools around them open.

A process per device, a track per queue, tier, port and link, counters of tier occupancy, the critical path
as a process of its own, and an arrow to each op from what it waited for last. Slices of one track must nest,
so ops that overlap on a shared track (two transfers on a link) lie in lanes: ``pcie-root>``, ``pcie-root> (2)``.
Instants are whole nanoseconds of device time, written in microseconds as the format wants; the same run gives the same
bytes.

Source: "Trace Event Format" (the JSON object form with traceEvents): ph M, X, C, i, s and f.
"""

from __future__ import annotations

import heapq
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from controller.errors import UserError
from controller.execute.critical import PathSegment
from controller.execute.trace import Span, Trace
from controller.report.files import lack
from node.hardware.units import GIGA, KILO

CRITICAL = 1_000_000
"""Number of the process that shows the critical path: above those of all devices."""


@dataclass(frozen=True, slots=True)
class WrittenTrace:
    """What lies in a trace file.

    Attributes:
        path: the file.
        span_count: slices in it.
        dropped_count: slices that the recorder had no room for.
    """

    path: Path
    span_count: int
    dropped_count: int

    def __str__(self) -> str:
        rest = f"; {self.dropped_count} later ones were dropped" if self.dropped_count else ""
        return f"{self.path} ({self.span_count} spans{rest})"


def write_chrome_trace(
    trace: Trace, path: str | Path, devices: Sequence[str] = (), critical: Sequence[PathSegment] = ()
) -> WrittenTrace:
    """Writes `trace` to `path`, whole or not at all; what is no regular file (a pipe, a device) is written as it is.

    Args:
        trace: what happened.
        path: the file; an existing one is replaced when the new one is complete.
        devices: the order of the processes, for example that of the topology; others follow as they appear.
        critical: the critical path op by op, which becomes a process of its own above the others.

    Raises:
        UserError: the file cannot be written.
    """
    target = Path(path).resolve()
    in_place = target.exists() and not target.is_file()
    partial = target.with_name(f".{target.name}.{os.getpid()}.partial")
    try:
        with (target if in_place else partial).open("w", encoding="utf-8", newline="\n") as stream:
            _write(trace, devices, critical, stream)
        if not in_place:
            os.replace(partial, target)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise UserError(f"the trace cannot be written to {target}: {lack(target, error)}") from error
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
    return WrittenTrace(target, len(trace.spans), trace.dropped)


def chrome_events(
    trace: Trace, devices: Sequence[str] = (), critical: Sequence[PathSegment] = ()
) -> Iterator[dict[str, object]]:
    """The events of `trace`: names of processes and tracks, then slices, arrows, counters and what was dropped."""
    yield from _critical_events(critical[: trace.limit])
    lanes = _lanes(trace.spans)
    seen = [*(span.device for span in trace.spans), *(level.device for level in trace.levels)]
    process = {device: number for number, device in enumerate(dict.fromkeys([*devices, *seen]), 1)}
    for device, pid in process.items():
        yield _name("process_name", pid, 0, device)
        yield _sort_index("process_sort_index", pid, 0, pid)
    thread: dict[tuple[str, str, int], int] = {}
    for device, track, lane in dict.fromkeys(_in_order_of_tracks(trace.spans, lanes)):
        tid = thread[device, track, lane] = len(thread) + 1
        yield _name("thread_name", process[device], tid, f"{track} ({lane + 1})" if lane else track)
        yield _sort_index("thread_sort_index", process[device], tid, tid)
    for span, lane in zip(trace.spans, lanes, strict=True):
        start, end = _nanoseconds(span.start_at), _nanoseconds(span.end_at)
        event: dict[str, object] = {
            "ph": "X",
            "name": span.name,
            "cat": str(span.detail.get("op", "transfer" if "from" in span.detail else "op")),
            "pid": process[span.device],
            "tid": thread[span.device, span.track, lane],
            "ts": _microseconds(start),
            "dur": _microseconds(end - start),
        }
        if span.detail:
            event["args"] = dict(span.detail)
        yield event
    for number, (before, after) in enumerate(trace.arrows):
        for index, phase in ((before, "s"), (after, "f")):
            span = trace.spans[index]
            start, end = _nanoseconds(span.start_at), _nanoseconds(span.end_at)
            arrow: dict[str, object] = {
                "ph": phase,
                "id": number,
                "name": "waits for",
                "cat": "dependency",
                "pid": process[span.device],
                "tid": thread[span.device, span.track, lanes[index]],
                # A reader looks for the slice around this instant, and a slice ends before its end.
                "ts": _microseconds(start if phase == "f" else max(start, end - 1)),
            }
            yield arrow | {"bp": "e"} if phase == "f" else arrow
    for level in trace.levels:
        yield {
            "ph": "C",
            "name": f"{level.tier} occupancy",
            "pid": process[level.device],
            "tid": 0,
            "ts": _microseconds(_nanoseconds(level.at)),
            "args": {"bytes": level.used_bytes},
        }
    if trace.dropped:
        last = max((_nanoseconds(span.end_at) for span in trace.spans), default=0)
        text = f"{trace.dropped} spans dropped: the recorder keeps {trace.limit}"
        yield {"ph": "i", "s": "g", "name": text, "pid": 1, "tid": 0, "ts": _microseconds(last)}


def _critical_events(critical: Sequence[PathSegment]) -> Iterator[dict[str, object]]:
    if not critical:
        return
    yield _name("process_name", CRITICAL, 0, "critical path")
    yield _sort_index("process_sort_index", CRITICAL, 0, -1)
    yield _name("thread_name", CRITICAL, 1, "what decided the end")
    for segment in critical:
        start, end = _nanoseconds(segment.start_at), _nanoseconds(segment.end_at)
        yield {
            "ph": "X",
            "name": segment.label,
            "cat": "critical path",
            "pid": CRITICAL,
            "tid": 1,
            "ts": _microseconds(start),
            "dur": _microseconds(end - start),
            "args": {"where": segment.where},
        }


def _write(trace: Trace, devices: Sequence[str], critical: Sequence[PathSegment], stream: IO[str]) -> None:
    other = {"dropped_spans": trace.dropped, "span_limit": trace.limit, "clock": "device time"}
    stream.write(f'{{"displayTimeUnit": "ms",\n"otherData": {json.dumps(other)},\n"traceEvents": [\n')
    separator = ""
    for event in chrome_events(trace, devices, critical):
        stream.write(separator + json.dumps(event, ensure_ascii=False, allow_nan=False))
        separator = ",\n"
    stream.write("\n]}\n")


def _lanes(spans: Sequence[Span]) -> list[int]:
    """For each span the lowest lane of its track that is free from its start to its end."""
    lanes = [0] * len(spans)
    free: dict[tuple[str, str], list[int]] = {}
    busy: dict[tuple[str, str], list[tuple[int, int]]] = {}
    for index in sorted(range(len(spans)), key=lambda i: (spans[i].start_at, spans[i].end_at, i)):
        span = spans[index]
        start, end = _nanoseconds(span.start_at), _nanoseconds(span.end_at)
        key = (span.device, span.track)
        running, idle = busy.setdefault(key, []), free.setdefault(key, [])
        while running and running[0][0] <= start:
            heapq.heappush(idle, heapq.heappop(running)[1])
        lane = heapq.heappop(idle) if idle else len(running)
        lanes[index] = lane
        heapq.heappush(running, (end, lane))
    return lanes


def _in_order_of_tracks(spans: Sequence[Span], lanes: Sequence[int]) -> Iterable[tuple[str, str, int]]:
    """(device, track, lane), tracks as they first appear and the lanes of one track side by side."""
    first: dict[tuple[str, str], int] = {}
    depth: dict[tuple[str, str], int] = {}
    for span, lane in zip(spans, lanes, strict=True):
        key = (span.device, span.track)
        first.setdefault(key, len(first))
        depth[key] = max(depth.get(key, 0), lane)
    for device, track in first:
        for lane in range(depth[device, track] + 1):
            yield device, track, lane


def _name(kind: str, pid: int, tid: int, text: str) -> dict[str, object]:
    return {"ph": "M", "name": kind, "pid": pid, "tid": tid, "args": {"name": text}}


def _sort_index(kind: str, pid: int, tid: int, index: int) -> dict[str, object]:
    return {"ph": "M", "name": kind, "pid": pid, "tid": tid, "args": {"sort_index": index}}


def _nanoseconds(instant_s: float) -> int:
    return round(instant_s * GIGA)


def _microseconds(nanoseconds: int) -> float:
    return nanoseconds / KILO
