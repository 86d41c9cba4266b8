"""The commands that travel to a node, as values and as messages.

A batch is columns of numbers; what a command does, its call, is described once a stream and referred to by a key. So a
plan that runs again costs a few bytes a command.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from node.errors import BadAttribute, OutOfRange
from node.hardware.operation import Attributes, AttributeValue
from node.rpc import node_pb2

MAX_CALLS = 20_000
"""How many calls a stream remembers before it starts afresh."""


@dataclass(frozen=True, slots=True)
class Operand:
    """A contiguous range of a buffer, read as a tensor of the buffer's dtype.

    Attributes:
        name: of the buffer.
        offset_bytes: where it starts [bytes].
        shape: extents.
        device: of a kernel: the node in the same chassis whose memory it is; "" for the own.
    """

    name: str
    offset_bytes: int
    shape: tuple[int, ...]
    device: str = ""


@dataclass(frozen=True, slots=True)
class LaunchKernel:
    """Runs a kernel of the operation table.

    Attributes:
        id: its event, unique in the run.
        op: name in the operation table.
        inputs, outputs: on this device or in memory of peers that is mapped here, in the order of the table.
        attributes: of the operation.
        queue: "" is the first compute queue.
        wait: events that must have ended first, here or on a peer that notifies this device.
        notify: devices that are told when it has ended.
    """

    id: int
    op: str
    inputs: tuple[Operand, ...]
    outputs: tuple[Operand, ...]
    attributes: Attributes = field(default_factory=dict)
    queue: str = ""
    wait: tuple[int, ...] = ()
    notify: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Push:
    """Copies a range of a buffer of this device to buffers of this or other devices.

    Attributes:
        id, wait, notify: as of `LaunchKernel`.
        source: on this device.
        destinations: (device, range) of equal size; own name copies within the device.
        queue: "" runs as soon as its events allow.
        latency_s: the whole fixed latency of the route [s].
        rate_limit_bytes_per_s: of a software path; 0 for none [bytes/s].
        out_port: port of this device that it leaves by; "" for none.
        in_port: port of each destination that it enters by; "" for none.
        links: directions of links that it passes, ``NAME>`` or ``NAME<``.
    """

    id: int
    source: Operand
    destinations: tuple[tuple[str, Operand], ...]
    queue: str = ""
    wait: tuple[int, ...] = ()
    notify: tuple[str, ...] = ()
    latency_s: float = 0.0
    rate_limit_bytes_per_s: float = 0.0
    out_port: str = ""
    in_port: str = ""
    links: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Allocate:
    """Takes a buffer out of a tier in the course of a batch; takes no device time."""

    id: int
    name: str
    tier: str
    dtype: str
    shape: tuple[int, ...]
    wait: tuple[int, ...] = ()
    notify: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Release:
    """Gives a buffer back in the course of a batch; takes no device time."""

    id: int
    name: str
    wait: tuple[int, ...] = ()
    notify: tuple[str, ...] = ()


Command = LaunchKernel | Push | Allocate | Release


@dataclass(frozen=True, slots=True)
class CommandCompletion:
    """How a command ended.

    Attributes:
        id: its event.
        start_at, end_at: device time; NaN when it failed [s].
        wall_s: real duration of the work itself [s of wall time].
        overrun: the machine was slower than the paced device; `end_at` is then the real end.
        error: "" or ``TYPE: sentence``.
        dropped_link: that failed it, or "".
    """

    id: int
    start_at: float
    end_at: float
    wall_s: float
    overrun: bool
    error: str
    dropped_link: str = ""


class CallTable:
    """The sending side of one command stream: which calls the node knows already."""

    def __init__(self) -> None:
        self._keys: dict[object, int] = {}
        self._forget = False

    def forget(self) -> None:
        """Starts afresh with the next batch."""
        self._keys.clear()
        self._forget = True

    def batch(self, number: int, commands: Sequence[Command], ready_at: float, timeout_s: float) -> node_pb2.Batch:
        """Commands as a message."""
        batch = node_pb2.Batch(batch=number, ready_at=ready_at, timeout_s=timeout_s)
        if len(self._keys) + len(commands) > MAX_CALLS:
            self.forget()
        batch.forget_calls, self._forget = self._forget, False
        keys, devices = self._keys, dict[str, int]()
        ids, calls, waits, notifies = [], [], list[int](), list[int]()
        wait_counts, notify_counts = [], []
        for command in commands:
            what = _identity(command)
            try:
                key = keys.get(what)
            except TypeError:  # an attribute that is not plain; says which
                _call(0, command)
                raise
            if key is None:
                key = keys[what] = len(keys)
                batch.calls.append(_call(key, command))
            ids.append(command.id)
            calls.append(key)
            wait_counts.append(len(command.wait))
            notify_counts.append(len(command.notify))
            waits.extend(command.wait)
            for device in command.notify:
                notifies.append(devices.setdefault(device, len(devices)))
        batch.id.extend(ids)
        batch.call.extend(calls)
        batch.wait_count.extend(wait_counts)
        batch.wait.extend(waits)
        batch.notify_count.extend(notify_counts)
        batch.notify.extend(notifies)
        batch.devices.extend(devices)
        return batch


def completions(reply: node_pb2.BatchReply, ids: Sequence[int]) -> list[CommandCompletion]:
    """The completions of a batch, in the order of its commands."""
    errors = {entry.index: f"{entry.failure.type}: {entry.failure.text}" for entry in reply.failures}
    columns = zip(ids, reply.start_at, reply.end_at, reply.wall_s, reply.overrun, strict=True)
    if not errors:
        return [CommandCompletion(*row, "") for row in columns]
    dropped = {entry.index: entry.failure.device for entry in reply.failures if entry.failure.type == "LinkDropped"}
    return [CommandCompletion(*row, errors.get(index, ""), dropped.get(index, "")) for index, row in enumerate(columns)]


def attribute_value(message: node_pb2.Attribute) -> AttributeValue:
    """A plain value from its message.

    Raises:
        BadAttribute: the message holds none.
    """
    kind = message.WhichOneof("kind")
    if kind == "integer":
        return int(message.integer)
    if kind == "number":
        return float(message.number)
    if kind == "text":
        return str(message.text)
    if kind == "flag":
        return bool(message.flag)
    if kind == "integers":
        return tuple(message.integers.value)
    raise BadAttribute("an attribute without a value; set one of integer, number, text, flag, integers")


def operand_value(message: node_pb2.Operand) -> Operand:
    """An operand from its message."""
    return Operand(message.name, message.offset_bytes, tuple(message.shape), message.device)


def _identity(command: Command) -> object:
    """What makes two commands the same call. True, 1 and 1.0 are equal in Python, so the types belong to it."""
    if isinstance(command, LaunchKernel):
        attributes = tuple([(name, value.__class__, value) for name, value in command.attributes.items()])
        return command.op, command.inputs, command.outputs, command.queue, attributes
    if isinstance(command, Push):
        return (
            command.source, command.destinations, command.queue, command.latency_s, command.rate_limit_bytes_per_s,
            command.out_port, command.in_port, command.links,
        )  # fmt: skip
    if isinstance(command, Allocate):
        return "allocate", command.name, command.tier, command.dtype, command.shape
    return "free", command.name


def _call(key: int, command: Command) -> node_pb2.Call:
    if isinstance(command, LaunchKernel):
        launch = node_pb2.LaunchCall(
            op=command.op,
            inputs=[_operand(operand) for operand in command.inputs],
            outputs=[_operand(operand) for operand in command.outputs],
            attributes=_attributes(command.op, command.attributes),
        )
        return node_pb2.Call(key=key, queue=command.queue, launch=launch)
    if isinstance(command, Push):
        push = node_pb2.PushCall(
            source=_operand(command.source),
            destinations=[
                node_pb2.Destination(device=device, operand=_operand(operand))
                for device, operand in command.destinations
            ],
            latency_s=command.latency_s,
            rate_limit_bytes_per_s=command.rate_limit_bytes_per_s,
            out_port=command.out_port,
            in_port=command.in_port,
            links=command.links,
        )
        return node_pb2.Call(key=key, queue=command.queue, push=push)
    if isinstance(command, Allocate):
        allocate = node_pb2.AllocateRequest(
            name=command.name, tier=command.tier, dtype=command.dtype, shape=command.shape
        )
        return node_pb2.Call(key=key, allocate=allocate)
    return node_pb2.Call(key=key, free=node_pb2.FreeRequest(name=command.name))


def _operand(operand: Operand) -> node_pb2.Operand:
    if operand.offset_bytes < 0 or any(extent < 0 for extent in operand.shape):
        raise OutOfRange(
            f"{operand.name}: offset {operand.offset_bytes} bytes, shape {operand.shape}; none may be negative"
        )
    return node_pb2.Operand(
        name=operand.name, offset_bytes=operand.offset_bytes, shape=operand.shape, device=operand.device
    )


def _attributes(op: str, attributes: Mapping[str, AttributeValue]) -> dict[str, node_pb2.Attribute]:
    return {name: _attribute(op, name, value) for name, value in attributes.items()}


def _attribute(op: str, name: str, value: AttributeValue) -> node_pb2.Attribute:
    if isinstance(value, bool):
        return node_pb2.Attribute(flag=value)
    if isinstance(value, int):
        return node_pb2.Attribute(integer=value)
    if isinstance(value, float):
        return node_pb2.Attribute(number=value)
    if isinstance(value, str):
        return node_pb2.Attribute(text=value)
    if _is_integers(value):
        return node_pb2.Attribute(integers=node_pb2.IntegerList(value=value))
    raise BadAttribute(
        f"{op}: attribute {name!r} is {value!r}; use a number, a text, true, false or a tuple of integers"
    )


def _is_integers(value: object) -> bool:
    return isinstance(value, tuple) and all(type(item) is int for item in value)
