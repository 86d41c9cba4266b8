"""How many calls of a kind may be under way at once, so that no number of open streams makes a node deaf.

Each call that lasts takes a thread of the server. A kind of call that is at its limit is refused with a typed error,
and the threads beyond all limits together are left to the short calls.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from threading import Lock
from typing import TYPE_CHECKING, Any

import grpc

from node.errors import TooManyCalls
from node.service.status import end_with

if TYPE_CHECKING:
    _Interceptor = grpc.ServerInterceptor[Any, Any]  # generic in its stubs alone
else:
    _Interceptor = grpc.ServerInterceptor

LIMITS: Mapping[str, int] = {
    "Stream": 64,
    "Heartbeats": 64,
    "Wait": 128,
    "Read": 128,
    "Write": 256,
    "Signal": 1024,
    "Grant": 1024,
    "ServerReflectionInfo": 16,
    "Watch": 16,
}
"""Calls of each kind; peers open one Signal and one Grant each, controllers one Stream and one Heartbeats."""
SHORT_CALLS = 128
"""Threads that no lasting call can take."""
WORKERS = sum(LIMITS.values()) + SHORT_CALLS
"""Threads of a server; they come as calls need them."""


class Limits(_Interceptor):
    """Counts the calls of one server."""

    def __init__(self, limits: Mapping[str, int] = LIMITS) -> None:
        self._limits = limits
        self._running = dict.fromkeys(limits, 0)
        self._lock = Lock()

    def intercept_service(self, continuation: Callable[[Any], Any], handler_call_details: Any) -> Any:
        """See grpc.ServerInterceptor."""
        handler = continuation(handler_call_details)
        kind = handler_call_details.method.rpartition("/")[2]
        if handler is None or kind not in self._limits:
            return handler
        if handler.response_streaming:
            behavior = handler.stream_stream if handler.request_streaming else handler.unary_stream
            made = (
                grpc.stream_stream_rpc_method_handler
                if handler.request_streaming
                else grpc.unary_stream_rpc_method_handler
            )
            return made(self._stream(kind, behavior), handler.request_deserializer, handler.response_serializer)
        behavior = handler.stream_unary if handler.request_streaming else handler.unary_unary
        made = (
            grpc.stream_unary_rpc_method_handler if handler.request_streaming else grpc.unary_unary_rpc_method_handler
        )
        return made(self._single(kind, behavior), handler.request_deserializer, handler.response_serializer)

    def _stream(self, kind: str, behavior: Callable[..., Iterator[Any]]) -> Callable[..., Iterator[Any]]:
        def limited(request: Any, context: grpc.ServicerContext) -> Iterator[Any]:
            self._enter(kind, context)
            yield from behavior(request, context)

        return limited

    def _single(self, kind: str, behavior: Callable[..., Any]) -> Callable[..., Any]:
        def limited(request: Any, context: grpc.ServicerContext) -> Any:
            self._enter(kind, context)
            return behavior(request, context)

        return limited

    def _enter(self, kind: str, context: grpc.ServicerContext) -> None:
        """Counts a call in, until it ends however it does; ends it at once when there are too many."""
        with self._lock:
            is_full = self._running[kind] >= self._limits[kind]
            self._running[kind] += not is_full
        if is_full:
            end_with(
                context,
                TooManyCalls(
                    f"{self._limits[kind]} calls of {kind} are open, which is the most that a node serves; close some"
                ),
            )

        def leave() -> None:
            with self._lock:
                self._running[kind] -= 1

        if not context.add_callback(leave):
            leave()
