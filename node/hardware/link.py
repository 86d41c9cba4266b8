"""Links by message size: NVLink, NVSwitch, PCIe, NICs.

Model: latency plus bytes at the rate of the wire, on which every packet carries a header beside its payload. Messages
that are posted back to back start no closer together than `message_s`, the gap of a NIC's message rate, so that short
ones reach size / gap; what is in flight at once hides latency by Little's law.
Source: Hockney, 'The communication challenge for MPP', Parallel Computing 20(3), 1994; Alexandrov, Ionescu, Schauser,
Scheiman, 'LogGP', SPAA 1995 (latency, gap a message, gap a byte); Little, Operations Research 9(3), 1961. Sizes of
packets and headers are constants of sheets, each with its source.
Valid for: one sender and one receiver that do nothing else.
Not modelled: flow-control credits, acknowledgements, retries, the host that posts the messages.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil

from node.hardware.device import DeviceSpec


@dataclass(frozen=True, slots=True)
class Channel:
    """One direction of a port as messages see it.

    Attributes:
        bytes_per_s: of the wire, or what long messages reach where that was measured [bytes/s].
        latency_s: of one message before its bytes [s].
        message_s: between the starts of messages that are posted back to back [s].
        payload_bytes: most that a packet carries [bytes]; 0 where packets are not told apart.
        header_bytes: what a packet takes beside it [bytes].
    """

    bytes_per_s: float
    latency_s: float = 0.0
    message_s: float = 0.0
    payload_bytes: float = 0.0
    header_bytes: float = 0.0

    def wire_bytes(self, nbytes: int) -> float:
        """What a message takes on the wire [bytes]; an empty one is a packet without payload."""
        packets = max(1, ceil(nbytes / self.payload_bytes)) if self.payload_bytes else 1
        return nbytes + packets * self.header_bytes

    def busy_s(self, nbytes: int) -> float:
        """How long one message keeps the channel from the next one [s]."""
        return max(self.message_s, self.wire_bytes(nbytes) / self.bytes_per_s)

    def time_s(self, nbytes: int, count: int = 1, in_flight: int = 1) -> float:
        """Time of `count` messages of `nbytes`, of which `in_flight` are posted before the first is waited for [s].

        With one in flight each pays its latency; with many the channel is busy with one after the other and the last
        one's latency is seen. Between the two, the latency of a message passes while the others of its round are sent.
        """
        busy_s = self.busy_s(nbytes)
        depth = max(1, min(in_flight, count))
        # Little's law: a message is in flight for its latency and its own time on the wire.
        apart_s = max(busy_s, (self.latency_s + busy_s) / depth)
        return self.latency_s + busy_s + (count - 1) * apart_s


def channel_of(spec: DeviceSpec, port: str, leaving: bool = True) -> Channel:
    """The direction of `port` that leaves the device, or the one that enters it.

    Raises:
        KeyError: the device has no such port.
    """
    part = spec.ports[port]

    def number(name: str) -> float:
        constant = spec.constants.get(f"{port}.{name}")
        return 0.0 if constant is None else constant.value

    line = part.read_bytes_per_s if leaving else part.write_bytes_per_s
    line = min(line, part.total_bytes_per_s or line)
    rate = min(line, number("sustained") or line)
    payload, header = number("payload"), number("header")
    if number("sustained"):
        header = 0.0  # measured on payload
    # A message of half the size that fills the gap at full rate reaches half of it.
    return Channel(rate, part.latency_s, number("message") or 2.0 * number("half") / rate, payload, header)
