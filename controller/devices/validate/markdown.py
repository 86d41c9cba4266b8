"""The error sheet: one line a file, as a table for a README."""

from __future__ import annotations

from collections.abc import Sequence

from controller.devices.validate.compare import Slice

_HEAD = (
    "| device | table | rows | left out | median | p90 | bias | measured again |",
    "| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: |",
)


def error_sheet(alls: Sequence[Slice]) -> str:
    """Markdown of the ``all`` slices of several files; ends with a line break."""
    lines = list(_HEAD)
    for part in alls:
        cells = (
            part.device or "-",
            part.table,
            f"{part.rows:,}",
            f"{part.dropped:,}",
            _percent(part.median),
            _percent(part.p90),
            _percent(part.bias, "+"),
            _again(part),
        )
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _again(part: Slice) -> str:
    """Median and p90 of the measurement against itself, where its README states them."""
    said = part.repeatability
    return "-" if said is None else f"{_percent(said.median)}, {_percent(said.p90)}"


def _percent(ratio: float | None, sign: str = "") -> str:
    return "-" if ratio is None else f"{ratio * 100:{sign}.1f} %"
