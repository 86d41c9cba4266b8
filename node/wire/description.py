"""What a node says about itself."""

from __future__ import annotations

from dataclasses import dataclass

from node.hardware.device import DeviceSpec
from node.rpc import node_pb2
from node.wire.specs import spec_from_json


@dataclass(frozen=True, slots=True)
class TierUse:
    """How full a tier is [bytes]."""

    capacity_bytes: int
    used_bytes: int
    peak_bytes: int


@dataclass(frozen=True, slots=True)
class BufferInfo:
    """A buffer of a node."""

    name: str
    tier: str
    dtype: str
    shape: tuple[int, ...]
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Description:
    """What a node is and holds.

    Attributes:
        device, host: its name in the topology and its chassis.
        spec: the device.
        process: process id.
        dilation: wall time over device time; 0 without pacing.
        buffers: in the order of allocation.
        tiers: by name.
        machine: equal for processes that share the monotonic clock.
        clock_now: the monotonic clock of its machine when it answered [s].
    """

    device: str
    host: str
    spec: DeviceSpec
    process: int
    dilation: float
    buffers: tuple[BufferInfo, ...]
    tiers: dict[str, TierUse]
    machine: str = ""
    clock_now: float = 0.0


def description_of(reply: node_pb2.Description) -> Description:
    """The values of the message."""
    return Description(
        reply.device,
        reply.host,
        spec_from_json(reply.spec_json),
        reply.process,
        reply.dilation,
        tuple(BufferInfo(b.name, b.tier, b.dtype, tuple(b.shape), b.size_bytes) for b in reply.buffers),
        {use.tier: TierUse(use.capacity_bytes, use.used_bytes, use.peak_bytes) for use in reply.tiers},
        reply.machine,
        reply.clock_now,
    )


@dataclass(frozen=True, slots=True)
class TierTransactions:
    """How far one flash tier is.

    Attributes:
        tier: its name.
        committed: transaction of its last commit; "" before the first.
        prepared: transaction that waits to be committed; "" when none does.
        participants: devices that commit `prepared` together.
    """

    tier: str
    committed: str
    prepared: str
    participants: tuple[str, ...]
