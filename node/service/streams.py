"""Streams that go on over many calls: what a client has begun in one call is there in the next (`node.wire.turns`)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from queue import Empty, SimpleQueue
from threading import Lock
from typing import Generic, TypeVar

import grpc

from node.errors import StreamLost
from node.protocol import STREAM_DEADLINE_S, STREAM_KEY
from node.service.status import statuses
from node.wire.turns import name_and_number

KEPT = 1024
"""How many streams of a kind may be between two calls; the one that waits longest makes room for another."""

Request = TypeVar("Request")
Reply = TypeVar("Reply")


class _Stream(Generic[Request, Reply]):
    """One stream.

    Attributes:
        replies: for the call that is open, or the next one; a None ends a call.
        number: of calls so far.
    """

    def __init__(self, first: Iterator[Request]) -> None:
        self.replies: SimpleQueue[Reply | None] = SimpleQueue()
        self.number = 1
        self._calls: SimpleQueue[Iterator[Request] | None] = SimpleQueue()
        self._calls.put(first)

    def go_on(self, requests: Iterator[Request]) -> None:
        """Reads the requests of the next call."""
        self.number += 1
        self._calls.put(requests)

    def end(self) -> None:
        """Waits for no other call."""
        self._calls.put(None)

    def requests(self, pause: Callable[[], None], gave_up: Callable[[], bool]) -> Iterator[Request]:
        """The requests of every call.

        Args:
            pause: called when a call has ended and another may follow.
            gave_up: called when none has followed; whether none can any more.
        """
        while (call := self._next_call(gave_up)) is not None:
            yield from call
            pause()

    def _next_call(self, gave_up: Callable[[], bool]) -> Iterator[Request] | None:
        try:
            return self._calls.get(timeout=STREAM_DEADLINE_S)
        except Empty:
            return None if gave_up() else self._calls.get()


class Streams(Generic[Request, Reply]):
    """The streams of one kind that a process serves."""

    def __init__(self, begin: Callable[[Iterator[Request], SimpleQueue[Reply | None]], None]) -> None:
        """Takes what begins a stream: it reads requests in a thread of its own, and puts replies and a last None."""
        self._begin = begin
        self._kept: dict[str, _Stream[Request, Reply]] = {}
        self._lock = Lock()

    def serve(self, requests: Iterator[Request], context: grpc.ServicerContext) -> Iterator[Reply]:
        """The replies of one call."""
        text = next((str(value) for key, value in context.invocation_metadata() if key == STREAM_KEY), "")
        if not text:
            replies: SimpleQueue[Reply | None] = SimpleQueue()
            self._begin(requests, replies)
            return iter(replies.get, None)
        with statuses(context):
            name, number = name_and_number(text)
            stream = self._continued(name, number, requests) if number else self._new(name, requests)
        return iter(stream.replies.get, None)

    def _new(self, name: str, requests: Iterator[Request]) -> _Stream[Request, Reply]:
        stream: _Stream[Request, Reply] = _Stream(requests)
        self._begin(stream.requests(lambda: self._keep(name, stream), lambda: self._drop(name, stream)), stream.replies)
        return stream

    def _continued(self, name: str, number: int, requests: Iterator[Request]) -> _Stream[Request, Reply]:
        with self._lock:
            stream = self._kept.get(name)
            if stream is None or stream.number != number:
                raise StreamLost(
                    f"call {number} of stream {name}, which is not kept here any more; open a new stream and send "
                    "again what was not replied to"
                )
            del self._kept[name]
        stream.go_on(requests)
        return stream

    def _keep(self, name: str, stream: _Stream[Request, Reply]) -> None:
        with self._lock:
            dropped = [self._kept.pop(name, None)]
            if len(self._kept) >= KEPT:
                dropped.append(self._kept.pop(next(iter(self._kept))))
            self._kept[name] = stream
        for one in dropped:
            if one is not None:
                one.end()
        stream.replies.put(None)

    def _drop(self, name: str, stream: _Stream[Request, Reply]) -> bool:
        with self._lock:
            is_kept = self._kept.get(name) is stream
            if is_kept:
                del self._kept[name]
            return is_kept
