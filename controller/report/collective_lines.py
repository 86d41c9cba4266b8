"""The five lines of ``windtunnel collective`` and ``windtunnel attention``."""

from __future__ import annotations

from collections.abc import Sequence

from controller.collectives.attention.measure import MeasuredAttention
from controller.collectives.measure.calls import MeasuredCall
from controller.execute.path_shares import PathShare
from controller.report.five_lines import FiveLines, bound_text, device_time, first_fitting
from controller.report.tables import number, quantity
from controller.topology.schema import Topology

ROOM = 66
"""Columns of a line behind its label and the mark of a comment."""
UNKNOWN_BOUND = "not told for calls in bulk, nor for a protocol of NCCL's own"


def collective_lines(
    topology: Topology,
    entries: Sequence[MeasuredCall],
    shares: Sequence[PathShare] | None,
    wrong: int | None,
    live: bool,
) -> FiveLines:
    """What a table of calls says first, about its largest size.

    Args:
        topology: what it ran on.
        entries: the fastest of every size, in order.
        shares: the critical path of the last one; None where nobody recorded it.
        wrong: elements that were wrong; None where nothing was moved.
        live: whether values were moved.
    """
    last, first = entries[-1], entries[0]
    call = last.call
    name = f"{call.collective}{', live' if live else ''}"
    what = f"{name}: {call.dtype} over {call.world_size:,} ranks of {topology.name}"
    size = quantity(last.size_bytes, "bytes")
    sizes = size if len(entries) == 1 else f"{quantity(first.size_bytes, 'bytes')} to {size}"
    how = f"{last.algorithm}/{last.protocol}"
    busbw, algbw = quantity(last.busbw_bytes_per_s, "bytes/s"), quantity(last.algbw_bytes_per_s, "bytes/s")
    return FiveLines(
        first_fitting((f"{what}, {sizes}", what), ROOM),
        device_time(last.time_s or 0.0, (f"{size} by {how}",), ROOM),
        f"{algbw} algbw, {busbw} busbw (as in nccl-tests)",
        UNKNOWN_BOUND if shares is None else bound_text(shares, ROOM),
        values_text(wrong, live),
    )


def attention_lines(
    topology: Topology, entries: Sequence[MeasuredAttention], shares: Sequence[PathShare], live: bool
) -> FiveLines:
    """What a table of schemes says first, about the fastest.

    Args:
        topology: what it ran on.
        entries: one a scheme.
        shares: the critical path of the fastest.
        live: whether values were computed.
    """
    best = fastest(entries)
    call = best.call
    name = f"attention{', live' if live else ''}"
    what = f"{call.tokens:,} tokens over {call.world_size} ranks of {topology.name}"
    names = ", ".join(entry.scheme for entry in entries)
    wrong = [entry.wrong for entry in entries if entry.wrong is not None]
    time_s = best.time_s or 0.0
    rate = "no time passes" if not time_s else f"{number(call.tokens * call.batch / time_s)} tokens/s"
    exposed = f"{best.exposed_s / time_s:.0%}".replace("%", " %") if time_s else "0 %"
    return FiveLines(
        first_fitting((f"{name} ({names}): {what}", f"{name} by {len(entries)} schemes: {what}")),
        device_time(time_s, (f"{best.scheme}, the fastest",) if len(entries) > 1 else (best.scheme,)),
        f"{rate}; nothing hides communication for {exposed} of the time",
        bound_text(shares),
        values_text(sum(wrong) if wrong else None, live),
    )


def fastest(entries: Sequence[MeasuredAttention]) -> MeasuredAttention:
    """The scheme that takes the least time."""
    return min(entries, key=lambda entry: entry.time_s if entry.time_s is not None else float("inf"))


def values_text(wrong: int | None, live: bool) -> str:
    """Whether elements were compared, and how many were wrong."""
    if wrong is None:
        return "not compared" if live else "not checked: nothing was moved (--live moves and compares)"
    return "checked: every element is right" if not wrong else f"WRONG: {wrong:,} elements"
