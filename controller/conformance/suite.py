"""The checks as a class that pytest collects, for a strategy of one's own."""

from __future__ import annotations

from itertools import zip_longest
from pathlib import Path
from typing import ClassVar

import pytest

from controller.conformance.conservation import lost_bytes, wrongly_copied_bytes
from controller.conformance.tiers import unreported_full_tiers
from controller.conformance.timeline import timeline_text
from controller.conformance.toys import SHORT, USUAL, Size, Toy, shapes, toy
from controller.conformance.values import wrong_values


class StrategySuite:
    """Subclass it in a test file and name the strategy; pytest runs every check.

    Attributes:
        strategy: a name of the table, or ``path/to/file.py:function``.
        models: names of the toy models that it must be right with; None for all of its task.
        size, short: workload of the checks, and of the timeline.
        overrides: changes of its topology, as ``--set`` takes them.
        timelines: folder of its golden timeline; None for none. A timeline that is not there is written.
    """

    strategy: ClassVar[str]
    models: ClassVar[tuple[str, ...] | None] = None
    size: ClassVar[Size] = USUAL
    short: ClassVar[Size] = SHORT
    overrides: ClassVar[tuple[str, ...]] = ()
    timelines: ClassVar[Path | None] = None

    def toys(self) -> tuple[Toy, ...]:
        """The strategy with every model."""
        found = shapes(self.strategy)
        wanted = self.models or tuple(found)
        return tuple(toy(self.strategy, found[name], self.size, self.overrides) for name in wanted)

    def test_values_are_those_of_the_plain_run(self) -> None:
        for each in self.toys():
            for backwards in (False, True):
                assert not wrong_values(each, backwards=backwards), each.shape.name

    def test_a_full_tier_is_reported(self) -> None:
        assert not unreported_full_tiers(self.toys()[0])

    def test_bytes_are_conserved(self) -> None:
        first = self.toys()[0]
        assert not lost_bytes(first)
        if first.strategy.has_values:
            assert not wrongly_copied_bytes(first)

    def test_the_timeline_is_the_golden_one(self, request: pytest.FixtureRequest) -> None:
        if self.timelines is None:
            pytest.skip("no folder of golden timelines is named")
        first = toy(self.strategy, self.toys()[0].shape, self.short, self.overrides)
        path = self.timelines / f"{first.strategy.name.rpartition(':')[2]}.txt"
        assert not changed_timeline(first, path, update=request.config.getoption("--update-timelines"))


def changed_timeline(toy: Toy, path: Path, *, update: bool = False) -> str:
    """What to say when the timeline of `toy` is not the text of `path`; writes it with `update` or where none is."""
    text = timeline_text(toy)
    if update or not path.exists():
        path.write_text(text)
        return "" if update else f"{path} was not there and has been written: review it and keep it"
    kept = path.read_text()
    if kept == text:
        return ""
    pairs = zip_longest(kept.split("\n"), text.split("\n"), fillvalue="end of file")
    number, before, now = next((i + 1, old, new) for i, (old, new) in enumerate(pairs) if old != new)
    return f"{path}:{number}: {before!r} before, {now!r} now; review the change and write it with --update-timelines"
