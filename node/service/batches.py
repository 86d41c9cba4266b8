"""The command stream: batches in, replies out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from queue import SimpleQueue
from threading import Lock, Thread

import grpc

from node.errors import BadAttribute
from node.protocol import WAIT_S
from node.rpc import node_pb2
from node.runtime.batch import Action, BatchRun, Command
from node.runtime.device import EmulatedDevice, MemoryCall
from node.wire.checks import LONGEST_S, MAX_RATE, checked_number
from node.wire.commands import LaunchKernel, Push, attribute_value, operand_value
from node.wire.status import failure_of


class ServedStream:
    """One client's stream."""

    def __init__(self, device: EmulatedDevice, replies: SimpleQueue[node_pb2.BatchReply | None]) -> None:
        """Takes the queue for a reply as each batch ends, and for a None when the client has closed its side."""
        self._device, self._replies = device, replies
        self._calls: dict[int, Action] = {}
        self._running = 1  # the reader
        self._lock = Lock()

    def begin(self, batches: Iterator[node_pb2.Batch]) -> None:
        """Reads batches in a thread of its own."""
        Thread(target=self._read, args=(batches,), name="batches", daemon=True).start()

    def _read(self, batches: Iterator[node_pb2.Batch]) -> None:
        try:
            for message in batches:
                with self._lock:
                    self._running += 1
                try:
                    self._start(message)
                except Exception as error:  # whatever it is, the client hears of it and the stream goes on
                    self._reply(node_pb2.BatchReply(batch=message.batch, refused=failure_of(error)))
        except grpc.RpcError:
            pass  # the client has gone; what it commanded still runs
        finally:
            self._ended()

    def _start(self, message: node_pb2.Batch) -> None:
        device, calls = self._device, self._calls
        if message.forget_calls:
            calls.clear()
        for description in message.calls:
            calls[description.key] = _call(device, description)
        _check(message, calls)
        device.peers.known(message.devices)
        batch = device.batch(
            message.batch,
            len(message.id),
            message.ready_at,
            message.timeout_s,
            lambda run: self._reply(_packed(run)),
        )
        devices = tuple(message.devices)
        waits, notifies = list(message.wait), list(message.notify)
        commands: list[Command] = []
        wait_at = notify_at = 0
        columns = zip(message.id, message.call, message.wait_count, message.notify_count, strict=True)
        for index, (event, key, wait_count, notify_count) in enumerate(columns):
            wait = waits[wait_at : wait_at + wait_count] if wait_count else ()
            notify = [devices[n] for n in notifies[notify_at : notify_at + notify_count]] if notify_count else ()
            wait_at += wait_count
            notify_at += notify_count
            commands.append(Command(event, calls[key], wait, notify, index, batch))
        device.begin(batch, commands)

    def _reply(self, reply: node_pb2.BatchReply) -> None:
        self._replies.put(reply)
        self._ended()

    def _ended(self) -> None:
        with self._lock:
            self._running -= 1
            last = not self._running
        if last:
            self._replies.put(None)


def _check(message: node_pb2.Batch, calls: Mapping[int, Action]) -> None:
    """Raises BadAttribute for an invalid batch, before any of it runs."""
    checked_number("ready_at", message.ready_at, "s", LONGEST_S)
    checked_number("timeout_s", message.timeout_s, "s", WAIT_S)
    size = len(message.id)
    if not size == len(message.call) == len(message.wait_count) == len(message.notify_count):
        raise BadAttribute(
            f"{size} ids, {len(message.call)} calls, {len(message.wait_count)} wait_counts and "
            f"{len(message.notify_count)} notify_counts; send one of each for every command"
        )
    for name, counts, entries in (
        ("wait", message.wait_count, message.wait),
        ("notify", message.notify_count, message.notify),
    ):
        if sum(counts) != len(entries):
            raise BadAttribute(
                f"{name}_count adds up to {sum(counts)}, {name} has {len(entries)} entries; send as many"
            )
    if len(set(message.id)) != size:
        event = next(event for event, often in Counter(message.id).items() if often > 1)
        raise BadAttribute(f"two commands of the batch have the id {event}; give each its own")
    if message.notify and max(message.notify) >= len(message.devices):
        raise BadAttribute(f"notify names device {max(message.notify)}, there are {len(message.devices)} from 0 on")
    for key in message.call:
        if key not in calls:
            raise BadAttribute(f"call {key} was not described on this stream; send it in calls first")


def _call(device: EmulatedDevice, description: node_pb2.Call) -> Action:
    kind = description.WhichOneof("kind")
    if kind == "launch":
        launch = description.launch
        return device.kernel(
            LaunchKernel(
                0,
                launch.op,
                tuple(operand_value(operand) for operand in launch.inputs),
                tuple(operand_value(operand) for operand in launch.outputs),
                {name: attribute_value(value) for name, value in launch.attributes.items()},
                description.queue,
            )
        )
    if kind == "push":
        push = description.push
        if not push.destinations:
            raise BadAttribute(f"call {description.key} pushes to no destination; name one at least")
        return device.push(
            Push(
                id=0,
                source=operand_value(push.source),
                destinations=tuple((there.device, operand_value(there.operand)) for there in push.destinations),
                queue=description.queue,
                latency_s=checked_number("latency_s of a push", push.latency_s, "s", LONGEST_S),
                rate_limit_bytes_per_s=checked_number(
                    "rate_limit_bytes_per_s of a push", push.rate_limit_bytes_per_s, "bytes/s", MAX_RATE
                ),
                out_port=push.out_port,
                in_port=push.in_port,
                links=tuple(push.links),
            )
        )
    if kind == "allocate":
        wanted = description.allocate
        shape = tuple(wanted.shape)
        return MemoryCall(lambda: device.store.allocate(wanted.name, wanted.tier, wanted.dtype, shape))
    if kind == "free":
        name = description.free.name
        return MemoryCall(lambda: device.store.free(name))
    raise BadAttribute(f"call {description.key} says nothing to do; set one of launch, push, allocate, free")


def _packed(run: BatchRun) -> node_pb2.BatchReply:
    return node_pb2.BatchReply(
        batch=run.number,
        start_at=run.start_at,
        end_at=run.end_at,
        wall_s=run.wall_s,
        overrun=run.overrun,
        failures=[node_pb2.CommandFailure(index=index, failure=failure_of(error)) for index, error in run.failures],
    )
