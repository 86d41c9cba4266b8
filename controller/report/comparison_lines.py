"""The five lines of ``windtunnel compare``."""

from __future__ import annotations

from collections.abc import Sequence

from controller.compare.measure import ComparisonRow
from controller.report.five_lines import FiveLines, device_time, first_fitting
from controller.report.tables import number


def comparison_lines(rows: Sequence[ComparisonRow], model: str) -> FiveLines:
    """What a comparison says first, about its fastest row."""
    ran = [row for row in rows if row.tokens_per_s is not None]
    topologies = len({row.topology for row in rows})
    what = f"{len(rows)} runs of {model} on {topologies} topolog{'y' if topologies == 1 else 'ies'}"
    failed = f", {len(rows) - len(ran)} of which do not run" if len(ran) < len(rows) else ""
    head = first_fitting((f"{what}{failed}", what))
    values = "not checked: nothing was computed (run --live does, and compares)"
    if not ran:
        nothing = "none: nothing ran to its end"
        return FiveLines(head, nothing, nothing, "see the rows", values)
    best = max(ran, key=_rate)
    worst = min(ran, key=_rate)
    rate = f"{number(_rate(best))} tokens/s by {best.name}"
    ratio = f"; {number(_rate(best) / _rate(worst), 3)} times that of {worst.name}" if worst is not best else ""
    return FiveLines(
        head,
        device_time(best.time_s or 0.0, (f"{best.name}, the fastest",)),
        first_fitting((f"{rate}{ratio}", rate)),
        first_fitting((f"{best.bound} of the fastest ({best.strategy})", best.bound)),
        values,
    )


def _rate(row: ComparisonRow) -> float:
    return row.tokens_per_s or 0.0
