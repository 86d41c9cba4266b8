"""Ranges never overlap, and come back."""

from __future__ import annotations

import numpy as np

from controller.engine.memory import Ranges


def test_exact_fits_come_first_and_neighbours_are_joined():
    ranges = Ranges()
    a, b, c, d = (ranges.take(size) for size in (4, 6, 4, 2))
    assert (a, b, c, d) == (0, 4, 10, 14)
    ranges.give(a, 4)
    ranges.give(c, 4)
    assert ranges.take(4) == c
    ranges.give(b, 6)
    assert ranges.take(10) == a
    assert ranges.end == 16


def test_the_end_is_given_up():
    ranges = Ranges()
    a, b = ranges.take(8), ranges.take(8)
    ranges.give(b, 8)
    assert ranges.end == 8
    ranges.give(a, 8)
    assert ranges.end == 0
    assert ranges.take(0) == 0


def test_random_use_never_overlaps():
    generator = np.random.default_rng(1)
    ranges = Ranges()
    owner = np.full(10_000, -1)
    live: dict[int, tuple[int, int]] = {}
    for i in range(2000):
        if live and generator.random() < 0.5:
            start, size = live.pop(list(live)[generator.integers(len(live))])
            owner[start : start + size] = -1
            ranges.give(start, size)
        else:
            size = int(generator.integers(1, 20))
            start = ranges.take(size)
            assert (owner[start : start + size] == -1).all()
            assert start + size <= ranges.end
            owner[start : start + size] = i
            live[i] = (start, size)
    for start, size in live.values():
        ranges.give(start, size)
    assert ranges.end == 0
