"""Plots of faults as SVG text: the delay matrix, who waits for whom, truth and verdicts over time, the ledger."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from controller.report.plots import draw, figure_of

MOST_LABELS = 32
"""Ranks above which a matrix names only some of them."""
MOST_NODES = 40
"""Nodes of a graph that are drawn, those nearest to the guilty first."""


def delay_matrix_plot(devices: Sequence[str], delays_s: NDArray[np.float64]) -> str:
    """How long each rank waited to receive from each other, as a heat map.

    Args:
        devices: of the ranks.
        delays_s: of rank i for rank j [s] (n, n); NaN where they exchange nothing.
    """
    figure, axis = figure_of(7.0, 6.0)
    image = axis.imshow(delays_s * 1e3, cmap="viridis", interpolation="nearest")
    step = -(-len(devices) // MOST_LABELS)
    places = list(range(0, len(devices), step))
    axis.set_xticks(places, [devices[place] for place in places], rotation=90, fontsize=6)
    axis.set_yticks(places, [devices[place] for place in places], fontsize=6)
    axis.set_xlabel("sender")
    axis.set_ylabel("receiver")
    figure.colorbar(image, ax=axis, label="waited and transferred [ms]")
    return draw(figure)


def wait_graph_plot(edges: Sequence[tuple[str, str]], guilty: Sequence[str]) -> str:
    """Who waits for whom, an arrow from each to the one it waits for; the guilty in red.

    Args:
        edges: waiter and awaited.
        guilty: nodes that are waited for and wait for nobody.
    """
    level: dict[str, int] = dict.fromkeys(guilty, 0)
    found = True
    while found:
        found = False
        for waiter, awaited in edges:
            if awaited in level and waiter not in level:
                level[waiter] = level[awaited] + 1
                found = True
    shown = sorted(level, key=lambda node: (level[node], node))[:MOST_NODES]
    figure, axis = figure_of(7.0, 4.0)
    places: dict[str, tuple[float, float]] = {}
    for node in shown:
        row = [other for other in shown if level[other] == level[node]]
        places[node] = ((row.index(node) + 0.5) / len(row), -float(level[node]))
    for waiter, awaited in edges:
        if waiter in places and awaited in places:
            axis.annotate(
                "",
                places[awaited],
                places[waiter],
                arrowprops={"arrowstyle": "->", "color": "tab:gray", "lw": 0.6, "shrinkB": 9},
            )
    for node, (x, y) in places.items():
        colour = "tab:red" if node in guilty else "black"
        axis.text(x, y, node, ha="center", va="center", fontsize=7, color=colour, bbox={"fc": "white", "ec": colour})
    axis.set_xlim(0, 1)
    axis.set_ylim(-max(level.values(), default=0) - 0.5, 0.5)
    axis.axis("off")
    return draw(figure)


def verdict_plot(
    truth: Sequence[tuple[str, float, float]], verdicts: Sequence[tuple[str, float, bool]], end_at: float
) -> str:
    """What was wrong, and what was said when.

    Args:
        truth: name, begin and end of each fault [s].
        verdicts: name, instant [s], and whether it was raised or taken back.
        end_at: end of the run [s].
    """
    rows = list(dict.fromkeys([name for name, _, _ in truth] + [name for name, _, _ in verdicts]))
    figure, axis = figure_of(7.0, 0.6 + 0.35 * max(len(rows), 1))
    for name, begin, end in truth:
        axis.barh(rows.index(name), min(end, end_at) - begin, left=begin, height=0.5, color="tab:orange", alpha=0.6)
    for name, at_s, raised in verdicts:
        axis.plot([at_s], [rows.index(name)], marker="v" if raised else "^", color="tab:red" if raised else "tab:green")
    axis.set_yticks(range(len(rows)), rows, fontsize=7)
    axis.set_xlim(0, max(end_at, 1e-12))
    axis.set_xlabel("time [s]")
    return draw(figure)


def ledger_plot(ledger_s: Mapping[str, float]) -> str:
    """Where the time went, as one bar.

    Args:
        ledger_s: useful, lost, detect, ... [s].
    """
    figure, axis = figure_of(7.0, 1.8)
    left = 0.0
    for name, seconds in ledger_s.items():
        axis.barh(0, seconds, left=left, label=name)
        left += seconds
    axis.set_yticks([])
    axis.set_xlabel("time [s]")
    axis.set_ylim(-0.5, 1.2)
    axis.legend(ncols=7, fontsize=7, loc="upper left", frameon=False)
    return draw(figure)
