"""Random lifetimes: no two values that live at one op share a byte, and offsets are those of an obvious twin."""

from heapq import heappop, heappush
from typing import NamedTuple

from hypothesis import given
from hypothesis import strategies as st

from controller.plan.arena import ALIGNMENT, Arena

EVENTS = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 12), st.integers(0, 5 * ALIGNMENT)), max_size=40)


class Lifetime(NamedTuple):
    """Bytes of a value, the op that makes it and the op that uses it last."""

    nbytes: int
    first: int
    last: int


def assign(values: list[Lifetime]) -> tuple[list[int], int]:
    """Offsets that an arena gives values in the order in which they are made, and its size."""
    arena, offsets = Arena(), []
    ending: list[tuple[int, int, int]] = []
    for value in values:
        while ending and ending[0][0] < value.first:
            _, start, taken = heappop(ending)
            arena.give(start, taken, ())
        offsets.append(arena.take(value.nbytes)[0] if value.nbytes else 0)
        if value.nbytes:
            heappush(ending, (value.last, offsets[-1], value.nbytes))
    return offsets, arena.nbytes


def lifetimes(events: list[tuple[int, int, int]]) -> list[Lifetime]:
    first, made = 0, []
    for wait, length, nbytes in events:
        first += wait
        made.append(Lifetime(nbytes, first, first + length))
    return made


def twin(values: list[Lifetime]) -> list[int]:
    """Tries every multiple of the alignment until no living value is in the way."""
    offsets: list[int] = []
    for index, value in enumerate(values):
        offset = 0
        while any(
            other.last >= value.first and offset < at + rounded(other) and at < offset + rounded(value)
            for at, other in zip(offsets, values[:index], strict=True)
        ):
            offset += ALIGNMENT
        offsets.append(offset)
    return offsets


def rounded(value: Lifetime) -> int:
    return -(-value.nbytes // ALIGNMENT) * ALIGNMENT


@given(EVENTS)
def test_offsets_are_those_of_the_obvious_twin(events: list[tuple[int, int, int]]) -> None:
    values = lifetimes(events)
    offsets, nbytes = assign(values)
    ends = [at + rounded(value) for at, value in zip(offsets, values, strict=True)]
    # A value without bytes is nowhere, wherever the twin puts it.
    pairs = zip(offsets, twin(values), values, strict=True)
    assert [ours for ours, _, value in pairs if value.nbytes] == [
        slow for slow, value in zip(twin(values), values, strict=True) if value.nbytes
    ]
    assert nbytes == max(ends, default=0)


@given(EVENTS)
def test_no_two_living_values_share_a_byte(events: list[tuple[int, int, int]]) -> None:
    values = lifetimes(events)
    placed = list(zip(assign(values)[0], values, strict=True))
    for index, (start, value) in enumerate(placed):
        for other_start, other in placed[:index]:
            together = value.first <= other.last and other.first <= value.last
            apart = start + value.nbytes <= other_start or other_start + other.nbytes <= start
            assert apart or not together
