"""The timeline of an HTML report: single spans as far as there is room, and how busy each track was after that.

The whole run is always there. What is drawn as bins says so, and a bin has the colour of what took most of it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence

from controller.execute.critical import PathSegment
from controller.execute.strips import BINS, StripBin, Strips
from controller.execute.trace import Trace
from controller.report.page import Section
from controller.report.tables import quantity

MOST_SPANS = 20_000
"""Enough to see every op of some steps, few enough for a page of a megabyte."""
MOST_SEGMENTS = 5_000
"""Ops of the critical path that are drawn one by one."""
CRITICAL = "critical path"
LEGEND = 14
"""Names that the legend shows."""


def timeline_section(trace: Trace, end_at: float, critical: Sequence[PathSegment] = ()) -> Section:
    """The whole run on its tracks, the critical path on top.

    Args:
        trace: what happened when.
        end_at: end of the run [s].
        critical: the critical path op by op, in order of time.
    """
    kept = sorted(trace.spans, key=lambda span: span.start_at)[:MOST_SPANS]
    is_whole = len(kept) == len(trace.spans) and not trace.dropped
    until = end_at if is_whole or not kept else kept[-1].start_at
    bins = [] if is_whole or trace.strips is None else _bins(trace.strips, trace.strips.bins(), until)
    segments = critical[:MOST_SEGMENTS]
    if len(segments) < len(critical):
        bins += _bins(strips := _strips_of(critical), strips.bins(), segments[-1].end_at)
    drawn: list[tuple[str, str, float, float]] = [
        (CRITICAL, each.label, each.start_at, each.end_at) for each in segments
    ]
    drawn += [(_track(span.device, span.track), span.name, span.start_at, span.end_at) for span in kept]
    tracks = sorted({track for track, *_ in (*drawn, *bins)}, key=lambda track: (track != CRITICAL, track))
    busy: dict[str, float] = {}
    for _, name, start, end in drawn:
        busy[name] = busy.get(name, 0.0) + end - start
    for _, name, start, end, share in bins:
        busy[name] = busy.get(name, 0.0) + (end - start) * share
    names = sorted(busy, key=lambda name: (-busy[name], name))
    track_of = {name: index for index, name in enumerate(tracks)}
    name_of = {name: index for index, name in enumerate(names)}
    data = {
        "tracks": tracks,
        "names": names,
        "legend": LEGEND,
        "end": end_at or 1e-9,
        "spans": [[track_of[track], name_of[name], start, end] for track, name, start, end in drawn],
        "bins": [
            [track_of[track], name_of[name], start, end, round(share, 3)] for track, name, start, end, share in bins
        ],
    }
    text = json.dumps(data, separators=(",", ":"), allow_nan=False)
    for character, escape in (("<", "\\u003c"), (">", "\\u003e"), ("&", "\\u0026")):
        text = text.replace(character, escape)  # so that no name can end the script
    return Section("timeline", _note(trace, until, is_whole), timeline={"data": text, "height": 18 * len(tracks) + 24})


def _note(trace: Trace, until: float, is_whole: bool) -> str:
    if is_whole:
        return ""
    if trace.strips is None:
        return f"The first {min(len(trace.spans), MOST_SPANS):,} ops; later ones are left out."
    return (
        f"Up to {quantity(until, 's')} every op is drawn. After that a column of {quantity(trace.strips.width_s, 's')} "
        f"is as high as its queue was held, or its tier, port or link used of its capacity, in the colour of what "
        f"took most of it."
    )


def _bins(strips: Strips, found: Iterable[StripBin], after: float) -> list[tuple[str, str, float, float, float]]:
    """Track, name, start and end of every bin that begins after an instant, and the share that was busy."""
    width = strips.width_s
    return [
        (_track(each.device, each.track), each.label, each.bin * width, (each.bin + 1) * width, each.share)
        for each in found
        if each.bin * width >= after - width
    ]


def _strips_of(critical: Sequence[PathSegment]) -> Strips:
    strips = Strips(width_s=critical[-1].end_at / BINS)
    for each in critical:
        strips.add_span(CRITICAL, "", each.label, each.start_at, each.end_at)
    return strips


def _track(device: str, track: str) -> str:
    return f"{device} {track}".strip()
