"""Questions about bytes that move: copies over a port, accesses to a drive, kernels that stream their operands."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Final

from controller.devices.predict.question import Column, Prediction, Question, Sizes, ask_kernel, number
from controller.errors import BadQuestion
from node.hardware.device import DeviceSpec, PortSpec, TierSpec
from node.hardware.flash import read_time_s, write_amplification, write_time_s
from node.hardware.link import channel_of
from node.hardware.operation import ITEM_BYTES, Attributes, TensorType
from node.hardware.operations import complete_attributes, operation
from node.hardware.transfer import transfer_cost
from node.hardware.units import KIBI

HOST: Final = TierSpec("host", "dram", 2**50, float(2**60), float(2**60))
"""Host memory that never limits a copy: the port does."""


def copy(spec: DeviceSpec, dtype: str, sizes: Sizes) -> Prediction:
    """A copy between the device's first tier and host memory, or a peer, over one of its ports."""
    port = _port(spec, str(sizes["port"]))
    device = _memory(spec)
    pageable = sizes["memory"] == "pageable"
    if sizes["direction"] == "out":
        cost = transfer_cost(number(sizes, "bytes"), device, HOST, out_port=port, pageable=pageable)
    else:
        cost = transfer_cost(number(sizes, "bytes"), HOST, device, in_port=port, pageable=pageable)
    engine = next((queue for queue in spec.queues.values() if queue.kind == "copy"), None)
    start_s = cost.latency_s + (engine.launch_s if engine is not None else 0.0)
    flow = port.name if cost.bound in ("out port", "in port") else cost.bound
    parts = {flow: cost.time_s, "start": start_s}
    return Prediction(start_s + cost.time_s, max(parts, key=parts.__getitem__), parts)


def _memory(spec: DeviceSpec) -> TierSpec:
    for tier in spec.tiers.values():
        return tier
    raise BadQuestion(f"{spec.product} ({spec.kind}) has no memory; ask `message` about what passes its ports")


def message(spec: DeviceSpec, dtype: str, sizes: Sizes) -> Prediction:
    """Messages out of a port, or into it, of any device: what a NIC or a link takes by size."""
    port = _port(spec, str(sizes["port"]))
    channel = channel_of(spec, port.name, leaving=sizes["direction"] == "out")
    nbytes, count = number(sizes, "bytes"), number(sizes, "count")
    time_s = channel.time_s(nbytes, count, number(sizes, "in_flight"))
    parts = {
        "latency": channel.latency_s,
        "messages": count * channel.message_s,
        port.name: count * channel.wire_bytes(nbytes) / channel.bytes_per_s,
    }
    return Prediction(time_s, max(parts, key=parts.__getitem__), parts)


def _port(spec: DeviceSpec, name: str) -> PortSpec:
    if not name and spec.ports:
        return next(iter(spec.ports.values()))
    if name not in spec.ports:
        raise BadQuestion(f"{spec.product} has no port {name!r}; it has {', '.join(spec.ports) or 'none'}")
    return spec.ports[name]


def _flash(spec: DeviceSpec) -> TierSpec:
    for tier in spec.tiers.values():
        if tier.storage == "flash":
            return tier
    raise BadQuestion(f"{spec.product} has no flash; it has {', '.join(spec.tiers) or 'no memory'}")


def p2p_read(spec: DeviceSpec, dtype: str, sizes: Sizes) -> Prediction:
    """One read of a drive's flash into the memory of its own FPGA."""
    tier = _flash(spec)
    return _drive(tier, read_time_s(tier, number(sizes, "buffer_KB") * KIBI), tier.read_latency_s)


def drive(spec: DeviceSpec, dtype: str, sizes: Sizes) -> Prediction:
    """Reads or writes of a drive by request size and queue depth."""
    tier = _flash(spec)
    arguments = (tier, number(sizes, "bytes"), number(sizes, "depth"), number(sizes, "request"))
    if sizes["direction"] == "write":
        spare = number(sizes, "spare_percent") / 100.0
        moved = write_amplification(spare, appended=sizes["pattern"] == "append")
        return _drive(tier, write_time_s(*arguments, amplification=moved), tier.write_latency_s)
    return _drive(tier, read_time_s(*arguments), tier.read_latency_s)


def _drive(tier: TierSpec, time_s: float, latency_s: float) -> Prediction:
    parts = {"latency": latency_s, tier.name: time_s - latency_s}
    return Prediction(time_s, max(parts, key=parts.__getitem__), parts)


def streaming(spec: DeviceSpec, dtype: str, sizes: Sizes) -> Prediction:
    """A kernel that copies a tensor in device memory: its bytes are read once and written once."""
    x = TensorType((max(1, number(sizes, "bytes") // ITEM_BYTES[dtype]),), dtype)
    return _operation(spec, "copy", (x,), (x,), {})


def rms_norm(spec: DeviceSpec, dtype: str, sizes: Sizes) -> Prediction:
    """Root-mean-square norm of rows."""
    n = number(sizes, "n")
    x = TensorType((number(sizes, "rows"), n), dtype)
    return _operation(spec, "rms_norm", (x, TensorType((n,), dtype)), (x,), {"eps": 1e-6})


def embedding(spec: DeviceSpec, dtype: str, sizes: Sizes) -> Prediction:
    """Rows of a table."""
    tokens, n = number(sizes, "tokens"), number(sizes, "n")
    table = TensorType((number(sizes, "vocab"), n), dtype)
    return _operation(spec, "embedding", (table, TensorType((tokens,), "int64")), (TensorType((tokens, n), dtype),), {})


def top_k(spec: DeviceSpec, dtype: str, sizes: Sizes) -> Prediction:
    """The largest of every row."""
    rows, k = number(sizes, "rows"), number(sizes, "k")
    x = TensorType((rows, number(sizes, "vocab")), dtype)
    outputs = (TensorType((rows, k), dtype), TensorType((rows, k), "int64"))
    return _operation(spec, "top_k", (x,), outputs, {"k": k})


def adam(spec: DeviceSpec, dtype: str, sizes: Sizes) -> Prediction:
    """One Adam step on fp32 parameters after another one; the gradients are in `dtype`."""
    p = TensorType((number(sizes, "params"),), "fp32")
    inputs = (p, TensorType(p.shape, dtype), p, p)
    entry = operation("adam")
    demand = entry.demand(inputs, (p, p, p), complete_attributes(entry, {"lr": 1e-3, "step": 1}))
    # The same tensors are stepped over and over, as a benchmark does; results take the place of what was read.
    demand = replace(demand, dims={**demand.dims, "span": float(sum(demand.reads))})
    return ask_kernel(spec, demand, str(sizes["tier"]))


def _operation(
    spec: DeviceSpec, name: str, inputs: tuple[TensorType, ...], outputs: tuple[TensorType, ...], attributes: Attributes
) -> Prediction:
    entry = operation(name)
    complete = complete_attributes(entry, attributes)
    entry.check(inputs, outputs, complete)
    return ask_kernel(spec, entry.demand(inputs, outputs, complete))


_BYTES = Column("bytes", "size [bytes]")
_ROWS = Column("rows", "rows")
_ASKS: tuple[tuple[str, str, tuple[Column, ...], Callable[[DeviceSpec, str, Sizes], Prediction]], ...] = (
    (
        "copy",
        "A copy between device memory and host memory or a peer.",
        (
            _BYTES,
            Column("direction", "out of the device or into it", "in", choices=("in", "out")),
            Column("memory", "kind of host memory", "pinned", choices=("pinned", "pageable")),
            Column("port", "of the device; the first unless said", "", word=True),
        ),
        copy,
    ),
    (
        "message",
        "Messages over a NIC or a link by size.",
        (
            Column("bytes", "size of a message [bytes]", least=0),
            Column("count", "messages", 1),
            Column("in_flight", "messages posted before the first is waited for", 1),
            Column("direction", "out of the device or into it", "out", choices=("out", "in")),
            Column("port", "of the device; the first unless said", "", word=True),
        ),
        message,
    ),
    ("p2p_read", "A read of a drive's flash by its own FPGA.", (Column("buffer_KB", "buffer [KiB]"),), p2p_read),
    (
        "drive",
        "Reads or writes of a drive by request size and queue depth.",
        (
            _BYTES,
            Column("request", "bytes of a request; 0 for all at once", 0, 0),
            Column("depth", "requests in flight", 1),
            Column("direction", "read or write", "read", choices=("read", "write")),
            Column(
                "pattern",
                "writes in order, or over blocks that are partly alive",
                "append",
                choices=("append", "overwrite"),
            ),
            Column("spare_percent", "area beyond what users see, for overwrites [%]", 7),
        ),
        drive,
    ),
    ("memory", "A kernel that copies a tensor in device memory.", (_BYTES,), streaming),
    ("rms_norm", "Root-mean-square norm of rows.", (_ROWS, Column("n", "columns")), rms_norm),
    (
        "embedding",
        "Rows of a table.",
        (Column("tokens", "rows taken"), Column("n", "columns"), Column("vocab", "rows of the table", 32000)),
        embedding,
    ),
    (
        "top_k",
        "The k largest of every row.",
        (_ROWS, Column("vocab", "columns"), Column("k", "how many", 1)),
        top_k,
    ),
    (
        "adam",
        "One Adam step on tensors that were stepped a moment ago.",
        (Column("params", "parameters"), Column("tier", "where they lie; the first unless said", "", word=True)),
        adam,
    ),
)
MOVES: Final = tuple(Question(*each) for each in _ASKS)
