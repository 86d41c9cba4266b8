"""Runs a function over named items and keeps every result, so that what was broken off goes on where it stopped."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from controller.compare.pool import each
from controller.compare.store import ResultStore

Item = TypeVar("Item")
Result = TypeVar("Result")
ProgressSink = Callable[[int, int, str], None]


class BrokenOff(KeyboardInterrupt):
    """Ctrl-C before all runs were finished.

    Attributes:
        rows: what the finished runs give.
        done, total: number of finished runs, and of all.
        folder: where they are kept; None for nowhere.
    """

    def __init__(self, rows: Any, done: int, total: int, folder: Path | None) -> None:
        super().__init__(f"{done} of {total} runs are finished")
        self.rows, self.done, self.total, self.folder = rows, done, total, folder

    def advice(self) -> str:
        """How to go on."""
        if self.folder is None:
            return f"{self.args[0]} and kept nowhere: name a folder with --out, and the same command goes on there"
        return f"{self.args[0]} and kept in {self.folder}: the same command goes on there"

    def giving(self, rows: Any) -> BrokenOff:
        """The same with what a caller makes of the finished runs."""
        return BrokenOff(rows, self.done, self.total, self.folder)


@dataclass(frozen=True, slots=True)
class Form(Generic[Item, Result]):
    """How items are told apart and results written down.

    Attributes:
        digest: names an item, equal on every machine.
        write: a result as an object of JSON.
        read: the result back.
        failed: whether a result says only that its item could not be run; such a one is tried again.
    """

    digest: Callable[[Item], str]
    write: Callable[[Result], Mapping[str, Any]]
    read: Callable[[Mapping[str, Any]], Result]
    failed: Callable[[Result], bool]


def run_kept(
    function: Callable[[Item], Result],
    items: Mapping[str, Item],
    form: Form[Item, Result],
    *,
    folder: Path | None = None,
    processes: int | None = None,
    ray: str | None = None,
    progress: ProgressSink | None = None,
) -> dict[str, Result]:
    """Result of every item by name; what `folder` has is not run again.

    Args:
        function: importable by name, so that a fresh process finds it.
        items: by name.
        form: of items and results.
        folder: where finished results are kept and found again; None for nowhere.
        processes: runs at once on this machine; None for as many as it has cores.
        ray: address of a Ray cluster to run on; None for this machine.
        progress: called with (done, total, name).

    Raises:
        BadStore: the folder cannot be used.
        BrokenOff: Ctrl-C; carries the finished results by name.
        WorkerDied: a process was killed; with a folder nothing that was finished is lost.
        MissingExtra: a Ray cluster is asked for and Ray is not installed.
    """
    store = None if folder is None else ResultStore(folder)
    results: dict[str, Result] = {}
    if store is not None:
        for name, item in items.items():
            known = store.get(form.digest(item))
            if known is not None:
                results[name] = form.read(known)
    if results and progress is not None:
        progress(len(results), len(items), f"found in {folder}")
    missing = {name: item for name, item in items.items() if name not in results}

    def done(name: str, result: Result) -> None:
        results[name] = result
        if store is not None and not form.failed(result):
            store.put(form.digest(items[name]), form.write(result))
        if progress is not None:
            progress(len(results), len(items), name)

    try:
        if missing and ray is not None:
            from controller.compare.ray_pool import each_on_ray

            each_on_ray(function, missing, done, ray)
        elif missing:
            each(function, missing, done, processes)
    except KeyboardInterrupt:
        raise BrokenOff(results, len(results), len(items), folder) from None
    return {name: results[name] for name in items}
