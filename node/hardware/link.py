"""Links by message size: NVLink, NVSwitch, PCIe, NICs.

Model: latency plus bytes at the rate that the packets leave for payload: rate x payload / (payload + header). A
message of n_1/2 = latency x rate bytes reaches half of the rate. Messages that are posted back to back start no closer
together than `message_s`, the gap of a NIC's message rate, so that short ones reach size / gap; what is in flight at
once hides latency by Little's law. Through a switch, latencies add up and the narrowest channel sets the rate.
Source: Hockney, 'The communication challenge for MPP', Parallel Computing 20(3), 1994; Alexandrov, Ionescu, Schauser,
Scheiman, 'LogGP', SPAA 1995 (latency, gap a message, gap a byte); Little, Operations Research 9(3), 1961; PCI Express
Base Specification (128b/130b, 24 bytes of header and framing for a TLP of 64-bit addresses); InfiniBand Architecture
Specification (RC: 30 bytes of headers and CRC for a packet) and RoCEv2 (58 bytes beyond Ethernet's own 20); Foley,
Danskin, 'Ultra-performance Pascal GPU and NVLink interconnect', IEEE Micro 37(2), 2017 (a header of 16 bytes for 16
flits of 16).
Valid for: one sender and one receiver that do nothing else.
Not modelled: flow-control credits, acknowledgements, retries, the host that posts the messages.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import ceil
from typing import Final

from node.hardware.device import DeviceSpec

HEADER_BYTES: Final[Mapping[str, int]] = {"pcie": 24, "infiniband": 30, "roce": 78, "nvlink": 16, "none": 0}
"""What a packet carries beside its payload [bytes]."""
LANE_BYTES_PER_S: Final[Mapping[int, float]] = {
    3: 8e9 * 128 / 130 / 8,
    4: 16e9 * 128 / 130 / 8,
    5: 32e9 * 128 / 130 / 8,
}
"""PCIe generation -> one lane, one direction, after line coding [bytes/s]."""


def payload_bytes_per_s(raw_bytes_per_s: float, payload_bytes: int, protocol: str) -> float:
    """What packets leave of a raw rate [bytes/s].

    Args:
        raw_bytes_per_s: of the link after line coding [bytes/s].
        payload_bytes: of a packet [bytes]: 256 on most PCIe hosts and NVLink, 4096 on InfiniBand.
        protocol: one of `HEADER_BYTES`.
    """
    return raw_bytes_per_s * payload_bytes / (payload_bytes + HEADER_BYTES[protocol])


def message_time_s(nbytes: int, latency_s: float, bytes_per_s: float) -> float:
    """Time of one message [s]."""
    return latency_s + nbytes / bytes_per_s


def half_rate_bytes(latency_s: float, bytes_per_s: float) -> float:
    """Message size that reaches half of the rate [bytes]."""
    return latency_s * bytes_per_s


def message_rate_bytes_per_s(nbytes: int, latency_s: float, bytes_per_s: float, in_flight: int = 1) -> float:
    """Rate of messages of `nbytes` with `in_flight` at once [bytes/s]."""
    return min(bytes_per_s, in_flight * nbytes / message_time_s(nbytes, latency_s, bytes_per_s))


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


def path_of(channels: Sequence[Channel], between_s: float = 0.0) -> Channel:
    """Channels one after the other, as through a switch: the narrowest sets the rate, latencies add up.

    Args:
        channels: in the order that a message passes them.
        between_s: of the switches and cables between them [s].

    Raises:
        ValueError: no channel.
    """
    narrowest = min(channels, key=lambda each: each.bytes_per_s / (1.0 + _header_share(each)))
    latency_s = between_s + sum(each.latency_s for each in channels)
    return replace(narrowest, latency_s=latency_s, message_s=max(each.message_s for each in channels))


def _header_share(channel: Channel) -> float:
    return channel.header_bytes / channel.payload_bytes if channel.payload_bytes else 0.0
