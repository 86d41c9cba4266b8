"""What another node signals: how its events ended, and bytes that it has copied here."""

from __future__ import annotations

from math import isinf, isnan

from node.errors import BadAttribute
from node.rpc import node_pb2
from node.runtime.device import EmulatedDevice
from node.runtime.events import Cause


def take_signal(device: EmulatedDevice, message: node_pb2.SignalMessage) -> None:
    """Passes on how events ended and counts what has arrived.

    Raises:
        BadAttribute: ends and failures that do not belong together, or a tier or port that the device lacks.
    """
    failed = sum(map(isnan, message.end_at))
    if len(message.id) != len(message.end_at) or failed != len(message.failures):
        raise BadAttribute(
            f"{message.device} signals {len(message.id)} events with {len(message.end_at)} ends, {failed} of them "
            f"failed, and {len(message.failures)} failures; send one end an event and one failure a NaN"
        )
    if any(map(isinf, message.end_at)):
        raise BadAttribute(f"{message.device} signals an event that ends at infinity; send a device time")
    spec = device.config.spec
    for arrival in message.arrivals:
        if arrival.tier not in spec.tiers or (arrival.port and arrival.port not in spec.ports):
            raise BadAttribute(f"{device.config.device} has no tier {arrival.tier!r} or no port {arrival.port!r}")
    for arrival in message.arrivals:
        device.counters.written(arrival.tier, arrival.size_bytes)
        device.counters.port(arrival.port, in_bytes=arrival.size_bytes)
    failures = iter(message.failures)
    for event, end_at in zip(message.id, message.end_at, strict=True):
        if isnan(end_at):
            failure = next(failures)
            device.peer_event(event, Cause(failure.cause, failure.type, failure.text))
        else:
            device.peer_event(event, end_at)
