"""Candidates in order of time: each whole, and the fastest ones cut into pieces as well."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

from controller.collectives.call import Call
from controller.collectives.protocol import Protocol

PIECES = (4, 8)
"""Numbers of pieces that are tried besides one."""

SMALLEST_PIECE_BYTES = 4096
"""A chunk is not cut into pieces below this size; assumed: a page."""

FINALISTS = 3
"""How many of the whole candidates are tried in pieces; those through a switch are all, as they gain most."""

Timed = TypeVar("Timed")


def ranked(
    pairs: Iterable[tuple[str, Protocol]],
    run: Callable[[str, Protocol, int], Timed | None],
    time_of: Callable[[Timed], float],
    call: Call,
    pieces: int | None,
    cuts: Callable[[int, Protocol], Sequence[int]],
) -> list[Timed]:
    """What `run` gives of every pair with the number of pieces that suits it best, fastest first.

    Args:
        pairs: algorithms and protocols.
        run: of an algorithm, a protocol and a number of pieces; None where the pair cannot run.
        time_of: the time of what it gives [s].
        call: that is cut into pieces.
        pieces: exactly so many; None for the best number.
        cuts: numbers of pieces to try, of the place among the whole candidates and the protocol.
    """
    whole = [
        (found, name, protocol)
        for name, protocol in pairs
        if (found := run(name, protocol, 1 if pieces is None else pieces)) is not None
    ]
    whole.sort(key=lambda item: time_of(item[0]))
    fastest = [found for found, _, _ in whole]
    if pieces is not None:
        return fastest
    smallest = call.count * call.item_bytes / call.world_size
    for place, (_, name, protocol) in enumerate(whole):
        for cut in cuts(place, protocol):
            if smallest / cut >= SMALLEST_PIECE_BYTES:
                found = run(name, protocol, cut)
                if found is not None and time_of(found) < time_of(fastest[place]):
                    fastest[place] = found
    fastest.sort(key=time_of)
    return fastest
