"""Plots as SVG text for reports; matplotlib is imported when the first one is drawn.

The same values give the same bytes: no date, and the identifiers inside are hashed with a fixed salt.
"""

from __future__ import annotations

import io
import itertools
from collections.abc import Mapping, Sequence
from typing import Any

from controller.execute.trace import Level
from controller.report.tables import number

_STYLE: Mapping[str, Any] = {
    "svg.hashsalt": "windtunnel",
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
}
_ROW_INCHES = 1.1
_MOST_POINTS = 2_000
DECADES = 30
"""Ratio of the largest to the smallest height above which a sweep by factors has a logarithmic height, too."""


def occupancy_plot(levels: Sequence[Level], capacity_bytes: Mapping[str, int], end_at: float) -> str:
    """Occupancy of every tier over time, a row a tier.

    Args:
        levels: in the order of time.
        capacity_bytes: of each ``device.tier`` [bytes].
        end_at: end of the run [s].

    Returns:
        An ``<svg>`` element.
    """
    series: dict[str, tuple[list[float], list[float]]] = {}
    for level in levels:
        times, sizes = series.setdefault(f"{level.device}.{level.tier}", ([], []))
        times.append(level.at)
        sizes.append(level.used_bytes / 1e9)
    shown = [name for name, (_, sizes) in series.items() if max(sizes, default=0.0) > 0]
    figure, axes = _figure(len(shown))
    for axis, name in zip(axes, shown, strict=True):
        times, sizes = series[name]
        stride = max(1, len(times) // _MOST_POINTS)
        axis.step([*times[::stride], end_at], [*sizes[::stride], sizes[-1]], where="post", linewidth=1.2)
        capacity = capacity_bytes.get(name)
        if capacity is not None:
            axis.axhline(capacity / 1e9, color="tab:red", linewidth=0.8, linestyle=":")
        axis.set_ylabel("GB")
        axis.set_title(name, loc="left", fontsize=9)
        axis.set_ylim(bottom=0)
        axis.set_xlim(0, max(end_at, 1e-12))
    if shown:
        axes[-1].set_xlabel("device time [s]")
    return _svg(figure)


def bar_plot(names: Sequence[str], values: Sequence[float | None], label: str) -> str:
    """One horizontal bar a name, in the given order; None (it did not run) has a cross instead.

    Returns:
        An ``<svg>`` element.
    """
    figure, (axis,) = _figure(1, height=0.6 + 0.32 * len(names))
    rows = range(len(names))
    axis.barh(rows, [0.0 if value is None else value for value in values], color="tab:blue", height=0.6)
    for row, value in zip(rows, values, strict=True):
        text = " does not run" if value is None else f" {number(value)}"
        axis.text(0.0 if value is None else value, row, text, va="center", fontsize=8)
    axis.set_yticks(list(rows), list(names))
    axis.invert_yaxis()
    axis.set_xlabel(label)
    axis.margins(x=0.15)
    return _svg(figure)


def line_plot(lines: Mapping[str, Sequence[tuple[float, float]]], x_label: str, y_label: str) -> str:
    """One line a name over numbers. Numbers that grow by factors (1, 2, 4, 8) lie on a logarithmic axis.

    Returns:
        An ``<svg>`` element.
    """
    figure, (axis,) = _figure(1, height=3.2)
    for name, points in lines.items():
        axis.plot([x for x, _ in points], [y for _, y in points], marker="o", markersize=3, label=name)
    axis.set_xlabel(x_label)
    axis.set_ylabel(y_label)
    swept = sorted({x for points in lines.values() for x, _ in points})
    if grows_by_factors(swept):
        axis.set_xscale("log", base=2)
        axis.set_xticks(swept, [f"{x:g}" for x in swept])
        axis.minorticks_off()
    heights = [y for points in lines.values() for _, y in points if y > 0]
    if grows_by_factors(swept) and heights and max(heights) > DECADES * min(heights):
        axis.set_yscale("log")
    else:
        axis.set_ylim(bottom=0)
    if lines:
        axis.legend(frameon=False)
    return _svg(figure)


def step_plot(lines: Mapping[str, Sequence[tuple[float, float]]], x_label: str, y_label: str) -> str:
    """One line a name over what stays as it is until the next point, from 0 on.

    Returns:
        An ``<svg>`` element.
    """
    figure, (axis,) = _figure(1, height=3.2)
    for name, points in lines.items():
        axis.step([x for x, _ in points], [y for _, y in points], where="post", linewidth=1.2, label=name)
    axis.set_xlabel(x_label)
    axis.set_ylabel(y_label)
    axis.set_xlim(left=0)
    axis.set_ylim(bottom=0)
    if len(lines) > 1:
        axis.legend(frameon=False)
    return _svg(figure)


def grows_by_factors(values: Sequence[float]) -> bool:
    """Whether ascending values are at least three, and each at least half as large again as the one before."""
    return len(values) > 2 and values[0] > 0 and all(b >= 1.5 * a for a, b in itertools.pairwise(values))


def _figure(rows: int, height: float | None = None) -> tuple[Any, Any]:
    import matplotlib

    matplotlib.use("svg")
    from matplotlib.figure import Figure

    with matplotlib.rc_context(dict(_STYLE)):
        figure = Figure(figsize=(9, height or _ROW_INCHES * max(rows, 1) + 0.4), layout="constrained")
        axes = figure.subplots(max(rows, 1), 1, squeeze=False)[:, 0]
    return figure, axes


def figure_of(width: float, height: float) -> tuple[Any, Any]:
    """A figure with one pair of axes.

    Args:
        width, height: in inches.
    """
    import matplotlib

    matplotlib.use("svg")
    from matplotlib.figure import Figure

    with matplotlib.rc_context(dict(_STYLE)):
        figure = Figure(figsize=(width, height), layout="constrained")
        return figure, figure.subplots()


def draw(figure: Any) -> str:
    """The figure as an ``<svg>`` element."""
    return _svg(figure)


def _svg(figure: Any) -> str:
    import matplotlib

    text = io.StringIO()
    with matplotlib.rc_context(dict(_STYLE)):
        figure.savefig(text, format="svg", metadata={"Date": None, "Creator": "windtunnel"})
    whole = text.getvalue()
    return whole[whole.index("<svg") :]
