"""Runs every point of a comparison that is not finished yet."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from controller.compare.measure import Measured, measure
from controller.compare.pool import each
from controller.compare.question import Point
from controller.compare.store import Store

ProgressSink = Callable[[int, int, str], None]


def run_grid(
    asked: Sequence[Point],
    *,
    folder: Path | None = None,
    processes: int | None = None,
    ray: str | None = None,
    progress: ProgressSink | None = None,
) -> tuple[Measured, ...]:
    """The rows of all points, in their order.

    Args:
        asked: what to run.
        folder: where finished rows are kept and found again; None for nowhere.
        processes: runs at once on this machine; None for as many as it has cores.
        ray: address of a Ray cluster to run on; None for this machine.
        progress: called with (done, total, what).

    Raises:
        BadStore: the folder cannot be used.
        WorkerDied: a process was killed; with a folder nothing that was finished is lost.
        MissingExtra: a Ray cluster is asked for and Ray is not installed.
    """
    store = None if folder is None else Store(folder)
    rows: dict[int, Measured] = {}
    for index, point in enumerate(asked):
        known = None if store is None else store.get(point)
        if known is not None:
            rows[index] = known
    open_points = {str(index): point for index, point in enumerate(asked) if index not in rows}

    def done(name: str, row: Measured) -> None:
        point = asked[int(name)]
        rows[int(name)] = row
        if store is not None:
            store.put(point, row)
        if progress is not None:
            progress(len(rows), len(asked), point.name)

    if open_points and ray is not None:
        from controller.compare.ray_pool import each_on_ray

        each_on_ray(measure, open_points, done, ray)
    elif open_points:
        each(measure, open_points, done, processes)
    return tuple(rows[index] for index in range(len(asked)))
