"""Streams that last as long as a run, although each of their calls has a deadline of minutes.

A client ends its side of a call after `STREAM_CALL_S`, hears the call end, and opens the next one under the same name.
The node keeps the stream between two calls: what it was told, the work in progress, and replies that are still due.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from itertools import count
from queue import Empty
from typing import Generic, Protocol, TypeVar

from node import protocol
from node.clock import wall_now
from node.errors import BadAttribute
from node.protocol import STREAM_KEY

_NAME_LENGTH = 64

Entry = TypeVar("Entry")
Made_co = TypeVar("Made_co", covariant=True)


class Queued(Protocol[Made_co]):
    """A queue of what a stream sends; a None ends the stream."""

    def get(self, block: bool = True, timeout: float | None = None) -> Made_co | None:
        """The next entry; raises `queue.Empty` when none comes in time."""


class Turn(Generic[Entry]):
    """What one call of a stream sends: the entries of a queue until a None, or until it is time for the next call.

    Attributes:
        metadata, deadline_s: of the call.
        continues: another call follows; what is left in the queue is for it.
    """

    def __init__(self, name: str, number: int, entries: Queued[Entry]) -> None:
        self.metadata = ((STREAM_KEY, f"{name} {number}"),)
        self.deadline_s = protocol.STREAM_DEADLINE_S
        self.continues = False
        self._entries = entries

    def __iter__(self) -> Iterator[Entry]:
        until = wall_now() + protocol.STREAM_CALL_S
        while (left_s := until - wall_now()) > 0:
            try:
                entry = self._entries.get(timeout=left_s)
            except Empty:
                break
            if entry is None:
                return
            yield entry
        self.continues = True


def turns(entries: Queued[Entry]) -> Iterator[Turn[Entry]]:
    """The calls of a new stream, each when the one before it has ended; they end with a None among the entries."""
    name = secrets.token_hex(16)
    for number in count():
        turn = Turn(name, number, entries)
        yield turn
        if not turn.continues:
            return


def name_and_number(text: str) -> tuple[str, int]:
    """The name of a stream and the number of calls before this one, from the metadata of a call.

    Raises:
        BadAttribute: it is written otherwise.
    """
    name, _, number = text.partition(" ")
    if not 0 < len(name) <= _NAME_LENGTH or not number.isdecimal() or len(number) > 18:
        raise BadAttribute(
            f"{STREAM_KEY} is {text[:100]!r}; send a name of at most {_NAME_LENGTH} letters and a number"
        )
    return name, int(number)
