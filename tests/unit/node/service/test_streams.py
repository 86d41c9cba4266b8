"""A stream over several calls, each on a server with real gRPC contexts left out."""

from __future__ import annotations

from collections.abc import Iterator
from queue import SimpleQueue
from threading import Thread

import pytest

from node.protocol import STREAM_KEY
from node.service import streams
from node.service.streams import Streams

Replies = SimpleQueue[int | None]


class Refused(Exception):
    pass


class Context:
    """What a service sees of one call."""

    def __init__(self, text: str) -> None:
        self._metadata = ((STREAM_KEY, text),) if text else ()

    def invocation_metadata(self) -> tuple[tuple[str, str], ...]:
        return self._metadata

    def set_trailing_metadata(self, metadata: object) -> None:
        pass

    def abort(self, code: object, text: str) -> None:
        raise Refused(text)


def sums(requests: Iterator[int], replies: Replies) -> None:
    """Replies with the sum of everything that the stream has sent so far, and with -1 at its end."""

    def read() -> None:
        total = 0
        for request in requests:
            total += request
            replies.put(total)
        replies.put(-1)
        replies.put(None)

    Thread(target=read, daemon=True).start()


def call(served: Streams[int, int], text: str, *requests: int) -> list[int]:
    return list(served.serve(iter(requests), Context(text)))  # type: ignore[arg-type]


def test_the_next_call_goes_on_where_the_last_one_ended() -> None:
    served = Streams(sums)
    assert call(served, "one 0", 1, 2) == [1, 3]
    assert call(served, "two 0", 10) == [10]
    assert call(served, "one 1", 4) == [7]
    assert call(served, "one 2") == []
    assert call(served, "one 3", 1) == [8]
    assert call(served, "two 1", 1) == [11]


def test_a_stream_without_a_name_ends_with_its_call() -> None:
    assert call(Streams(sums), "", 1, 2) == [1, 3, -1]


@pytest.mark.parametrize("text", ["one 2", "one 0x", "two 1", "two 7"])
def test_a_call_that_continues_nothing_is_refused(text: str) -> None:
    served = Streams(sums)
    assert call(served, "one 0", 1) == [1]
    with pytest.raises(Refused, match="stream"):
        call(served, text, 1)
    assert call(served, "one 1", 1) == [2]


def test_a_call_is_continued_once() -> None:
    served = Streams(sums)
    call(served, "one 0", 1)
    call(served, "one 1", 1)
    with pytest.raises(Refused, match="not kept"):
        call(served, "one 1", 1)


def test_one_that_nobody_continues_ends_and_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "STREAM_DEADLINE_S", 0.05)
    ended: SimpleQueue[int] = SimpleQueue()

    def begin(requests: Iterator[int], replies: Replies) -> None:
        Thread(target=lambda: ended.put(sum(requests)), daemon=True).start()

    served = Streams(begin)
    assert call(served, "one 0", 1, 2) == []
    assert ended.get(timeout=5) == 3
    with pytest.raises(Refused, match="not kept"):
        call(served, "one 1", 1)


def test_the_longest_kept_one_makes_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "KEPT", 2)
    served = Streams(sums)
    for name in ("one", "two", "three"):
        call(served, f"{name} 0", 1)
    with pytest.raises(Refused, match="not kept"):
        call(served, "one 1", 1)
    assert call(served, "two 1", 1) == [2]
    assert call(served, "three 1", 1) == [2]
