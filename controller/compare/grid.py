"""Runs every point of a comparison that is not finished yet."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from controller.compare.kept import BrokenOff, Form, ProgressSink, run_kept
from controller.compare.measure import CANNOT_RUN, ComparisonRow, measure
from controller.compare.question import Point


def run_grid(
    asked: Sequence[Point],
    *,
    folder: Path | None = None,
    processes: int | None = None,
    ray: str | None = None,
    progress: ProgressSink | None = None,
) -> tuple[ComparisonRow, ...]:
    """The rows of all points, in their order; arguments as of `run_kept`.

    Raises:
        BadStore: the folder cannot be used.
        BrokenOff: Ctrl-C; carries the finished rows in their order.
        WorkerDied: a process was killed; with a folder nothing that was finished is lost.
        MissingExtra: a Ray cluster is asked for and Ray is not installed.
    """
    items = {str(index): point for index, point in enumerate(asked)}

    def named(done: int, total: int, index: str) -> None:
        if progress is not None:
            progress(done, total, items[index].name if index in items else index)

    form: Form[Point, ComparisonRow] = Form(
        lambda point: point.digest, ComparisonRow.to_json, _row, lambda row: row.outcome.startswith(CANNOT_RUN)
    )
    try:
        rows = run_kept(
            measure, items, form, folder=folder, processes=processes, ray=ray, progress=named,
        )  # fmt: skip
    except BrokenOff as broken:
        raise broken.giving(tuple(broken.rows[index] for index in items if index in broken.rows)) from None
    return tuple(rows.values())


def _row(fields: Mapping[str, Any]) -> ComparisonRow:
    lists = {name: tuple(fields[name]) for name in ("unpriced", "unrented", "powerless")}
    return ComparisonRow(**{**fields, **lists})
