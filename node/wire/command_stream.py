"""The client's side of a command stream: batches go out, futures come true."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future
from itertools import count
from queue import SimpleQueue
from threading import Lock, Thread

import grpc

from node.errors import MessageTooLarge, ShuttingDown
from node.protocol import MESSAGE_BYTES
from node.rpc import node_pb2, node_pb2_grpc
from node.wire.commands import CallTable, Command, CommandCompletion, completions
from node.wire.status import error_of
from node.wire.turns import turns


class CommandStream:
    """The bidirectional stream of one client, opened by the first batch."""

    def __init__(
        self, device: str, stub: node_pb2_grpc.NodeStub, error_of_call: Callable[[grpc.RpcError], Exception]
    ) -> None:
        self._device, self._stub, self._error_of_call = device, stub, error_of_call
        self._lock = Lock()
        self._numbers = count(1)
        self._waiting: dict[int, tuple[Future[list[CommandCompletion]], list[int]]] = {}
        self._requests: SimpleQueue[node_pb2.Batch | None] | None = None
        self._table = CallTable()

    def submit(self, commands: Sequence[Command], ready_at: float, timeout_s: float) -> Future[list[CommandCompletion]]:
        future: Future[list[CommandCompletion]] = Future()
        with self._lock:
            if self._requests is None:
                self._requests, self._table = SimpleQueue(), CallTable()
                Thread(
                    target=self._receive, args=(self._requests,), name=f"commands.{self._device}", daemon=True
                ).start()
            number = next(self._numbers)
            try:
                batch = self._table.batch(number, commands, ready_at, timeout_s)
                size = batch.ByteSize()
                if size > MESSAGE_BYTES:
                    raise MessageTooLarge(
                        f"{len(commands)} commands to {self._device} are {size} bytes; a message holds "
                        f"{MESSAGE_BYTES}; submit them in several batches"
                    )
            except Exception:
                self._table.forget()  # it holds calls that the node was never told
                raise
            self._waiting[number] = (future, [command.id for command in commands])
            self._requests.put(batch)
        return future

    def fail(self, error: Exception, stream: SimpleQueue[node_pb2.Batch | None] | None = None) -> None:
        with self._lock:
            if stream is not None and self._requests is not stream:
                return
            self._requests = None
            waiting, self._waiting = self._waiting, {}
        for future, _ in waiting.values():
            if not future.done():
                future.set_exception(error)

    def close(self) -> None:
        with self._lock:
            if self._requests is not None:
                self._requests.put(None)
                self._requests = None

    def _receive(self, requests: SimpleQueue[node_pb2.Batch | None]) -> None:
        try:
            for turn in turns(requests):
                call = self._stub.Stream(iter(turn), timeout=turn.deadline_s, metadata=turn.metadata)
                for reply in call:
                    self._take(reply)
            error: Exception = ShuttingDown(f"{self._device} closed its command stream; it takes no more commands")
        except grpc.RpcError as call:
            error = self._error_of_call(call)
        requests.put(None)  # lets gRPC's sending thread end
        self.fail(error, requests)

    def _take(self, reply: node_pb2.BatchReply) -> None:
        entry = self._waiting.pop(reply.batch, None)
        if entry is None:
            return
        future, ids = entry
        if reply.refused.type:
            future.set_exception(error_of(reply.refused))
        else:
            future.set_result(completions(reply, ids))
