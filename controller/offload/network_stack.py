"""What the software of a network stack adds to the wire between the two pools.

A topology declares for each stack the round trip of a small message and the rate of long ones. Half of the round trip
is one message; what ports and links take of it is the wire's, and the rest is spent before the message leaves: a delay
on the sender's outgoing copy queue, one for all messages that leave together. Simplification: what leaves while an
earlier message is still in its delay waits for that one's end first.
Source: Lamina (arXiv 2405.01814), sections 4.1 and 6.3.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from controller.errors import BadTopology
from controller.offload.software_path import declared
from controller.plan.build import as_view
from controller.plan.script import Script, Source, Value
from controller.plan.value import Place
from controller.topology.graph import route
from controller.topology.schema import Topology


class NetworkStack:
    """A stack on one topology.

    Attributes:
        name: ``fhbn`` or ``nccl``.
        round_trip_s: of a small message [s].
        bytes_per_s: of long messages, one sender to one receiver [bytes/s].
    """

    def __init__(self, topology: Topology, name: str) -> None:
        self.topology, self.name = topology, name
        self.round_trip_s = self._option("round_trip", "s")
        self.bytes_per_s = self._option("rate", "bytes/s")
        self._delay: dict[tuple[str, str], float] = {}

    def send(
        self, s: Script, messages: Sequence[tuple[Source, Place | Source]], label: str, after: Sequence[int] = ()
    ) -> list[Value]:
        """Messages of one sender that leave together; returns what arrives.

        Args:
            s: takes the ops.
            messages: sources, all on one device, each with the tier or the buffer that it goes to.
            label: of the transfers.
            after: ops whose results the messages carry, before which the sender does not start.
        """
        (sender, tier), receiver = _place_of(messages[0][0]), _place_of(messages[0][1])[0]
        waits = self._software_s(sender, receiver)
        started: tuple[int, ...] = tuple(after)
        if waits > 0:
            there, queue = Place(sender, tier), self._queue(sender)
            s.results("delay", on=there, out=(), queue=queue, label="stack", after=after, seconds=waits)
            started = (s.count - 1,)
        # A sender's messages share what the stack reaches on its NIC by their length, so that they end together.
        widths = [_width(origin) for origin, _ in messages]
        return [
            s.move(origin, target, label, rate_limit_bytes_per_s=self.bytes_per_s * width / sum(widths), after=started)
            for (origin, target), width in zip(messages, widths, strict=True)
        ]

    def _software_s(self, sender: str, receiver: str) -> float:
        key = (sender, receiver)
        if key not in self._delay:
            found = route(self.topology, sender, receiver)
            ports = ((sender, found.hops[0].tail.port), (receiver, found.hops[-1].head.port))
            wire_s = found.latency_s + sum(
                self.topology.devices[name].spec.ports[port].latency_s for name, port in ports
            )
            if wire_s > self.round_trip_s / 2:
                raise BadTopology(
                    f"{self.topology.name}: {sender} to {receiver} takes {wire_s:.3g} s on the wire, more than half of "
                    f"the round trip that stack.{self.name}.round_trip declares; raise that or lower the latencies"
                )
            self._delay[key] = self.round_trip_s / 2 - wire_s
        return self._delay[key]

    def _queue(self, device: str) -> str:
        queues = self.topology.devices[device].spec.queues.values()
        return next((queue.name for queue in queues if queue.kind == "copy"), "")

    def _option(self, what: str, dimension: str) -> float:
        key = f"stack.{self.name}.{what}"
        value = declared(self.topology, key, dimension)
        if value is None:
            raise BadTopology(
                f"topology {self.topology.name!r} lacks the option {key}, which says what the network stack costs; "
                f"choose --topology lamina or add it under options:"
            )
        return value


def _place_of(end: Place | Source) -> tuple[str, str]:
    if isinstance(end, Place):
        return end.device, end.tier
    if isinstance(end, Value):
        return end.place.device, end.place.tier
    buffer = as_view(end).buffer
    return buffer.device, buffer.tier


def _width(operand: Source) -> int:
    """Elements of a row; the number of rows is the same for all messages of a sender."""
    return prod(extent for extent in operand.shape[1:] if isinstance(extent, int))
