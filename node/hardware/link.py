"""Links by message size: NVLink, PCIe, NICs.

Model: latency plus bytes at the rate that the packets leave for payload: rate x payload / (payload + header). A
message of n_1/2 = latency x rate bytes reaches half of the rate.
Source: Hockney, 'The communication challenge for MPP', Parallel Computing 20(3), 1994; PCI Express Base Specification
(128b/130b, 24 bytes of header and framing for a TLP of 64-bit addresses); InfiniBand Architecture Specification
(RC: 30 bytes of headers and CRC for a packet) and RoCEv2 (58 bytes beyond Ethernet's own 20).
Valid for: one sender and one receiver, messages posted one after the other.
Not modelled: flow-control credits, acknowledgements, several messages in flight (then latency is hidden).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

HEADER_BYTES: Final[Mapping[str, int]] = {"pcie": 24, "infiniband": 30, "roce": 78, "none": 0}
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
        payload_bytes: of a packet [bytes]: 256 on most PCIe hosts, 4096 on InfiniBand.
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
