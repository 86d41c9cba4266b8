"""Calls one after the other as a program, on either executor."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from typing import Any, TypeVar

from controller.program.results import CallResult, CollectiveResult
from controller.program.run import CollectiveProgram, Run, Wish

Entry = TypeVar("Entry")


def in_turn(
    entries: Sequence[Entry],
    one: Callable[[Run, Entry], Generator[Wish, Any, CallResult]],
    name: Callable[[Entry], str],
) -> Callable[[Run], CollectiveProgram]:
    """A program that runs calls one after the other and returns what they came to, in order.

    Args:
        entries: what to run.
        one: runs one of them.
        name: what progress calls it.
    """

    def go(run: Run) -> CollectiveProgram:
        calls: list[CallResult] = []
        for done, entry in enumerate(entries):
            run.progress(done, len(entries), name(entry))
            calls.append((yield from one(run, entry)))
        run.progress(len(entries), len(entries), "done")
        return CollectiveResult(tuple(calls))

    return go
