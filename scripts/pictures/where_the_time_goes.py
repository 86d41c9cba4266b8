"""Draws what bounds three offloading systems: a bar of time per token, cut by what its critical path went into."""

from __future__ import annotations

import io
import sys
from collections.abc import Sequence
from pathlib import Path

import matplotlib

matplotlib.use("svg")
from matplotlib.figure import Figure

from controller.execute.path_shares import by_resource
from controller.experiment.run import run_experiment
from controller.experiment.run_spec import RunSpec

SYSTEMS = ("flexgen", "deepspeed", "instinfer")
WORKLOAD = {"model": "opt-13b", "batch": 16, "prompt_tokens": 512, "output_tokens": 128}
LEAST = 0.015
"""Share from which on a resource has a colour of its own."""
REST = "everything else"
STYLE = {"svg.hashsalt": "windtunnel", "svg.fonttype": "none", "font.family": "sans-serif", "font.size": 10}
COLOURS = ("#c0504d", "#4f81bd", "#9bbb59", "#8064a2", "#f79646", "#4bacc6")


def draw(path: Path) -> None:
    """Runs the systems on the virtual clock and writes the SVG."""
    names: dict[str, str] = {}
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(8.0, 3.0), layout="constrained")
        axis = figure.subplots()
        for row, system in enumerate(SYSTEMS):
            experiment = run_experiment(RunSpec(system, **WORKLOAD))
            per_token_ms = 1e3 / (experiment.tokens_per_s or 1.0)
            left = 0.0
            for resource, share in _cut(by_resource(experiment.bound_by)):
                colour = "#b0b0b0" if resource == REST else names.setdefault(resource, COLOURS[len(names)])
                axis.barh(row, share * per_token_ms, left=left, height=0.6, color=colour, label=resource)
                if share > 0.12:
                    axis.text(
                        left + share * per_token_ms / 2,
                        row,
                        f"{share * 100:.0f} %",
                        ha="center",
                        va="center",
                        color="w",
                    )
                left += share * per_token_ms
            axis.text(left, row, f"  {per_token_ms:.3g} ms", va="center")
        axis.set_yticks(range(len(SYSTEMS)), SYSTEMS)
        axis.invert_yaxis()
        axis.margins(x=0.12)
        axis.set_xlabel("device time per token [ms], cut by what its critical path went into")
        axis.set_title(
            "OPT-13B, batch 16, 512 tokens in, 128 out, on an RTX A6000 and one drive", fontsize=10, loc="left"
        )
        axis.spines[["top", "right"]].set_visible(False)
        handles, labels = axis.get_legend_handles_labels()
        unique = dict(zip(labels, handles, strict=True))
        figure.legend(unique.values(), unique.keys(), loc="outside lower center", ncols=4, frameon=False, fontsize=9)
        drawn = io.StringIO()
        figure.savefig(drawn, format="svg", metadata={"Date": None, "Creator": "windtunnel"})
    path.write_text("\n".join(line.rstrip() for line in drawn.getvalue().splitlines()) + "\n", encoding="utf-8")


def _cut(parts: Sequence[tuple[str, float]]) -> list[tuple[str, float]]:
    large = [(name, share) for name, share in parts if share >= LEAST]
    rest = sum(share for _, share in parts) - sum(share for _, share in large)
    return [*large, (REST, rest)] if rest else large


if __name__ == "__main__":
    draw(Path(sys.argv[1]))
