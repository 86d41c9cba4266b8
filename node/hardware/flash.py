"""Flash drives by request size and queue depth, and reads that pass a drive's own FPGA.

Model: a request of some size is cut into commands; a command pays its latency, commands of one request and requests of
one queue run side by side, and all together no faster than the drive streams. With Little's law the rate is the least
of depth x size / latency and the streaming rate; between the two, one more request hides the rest of the latency, so
that the time of a request is latency + size / rate, divided by the depth while that is slower than streaming alone. A
request larger than `split_bytes` is sent piece after piece by a host that waits for each piece.
Writes to overwritten blocks cost more than they carry: with random overwrites and a share s of spare area, greedy
garbage collection moves (1 + s) / (2 s) bytes for each; appends whose blocks die together cost exactly one.
Source: Little, Operations Research 9(3), 1961; Hockney, Parallel Computing 20(3), 1994 (n_1/2); Hu, Eleftheriou, Haas,
Iliadis, Pletka, 'Write amplification analysis in flash-based solid state drives', SYSTOR 2009 (simple bound of greedy
collection for a large drive).
Valid for: NVMe drives, one direction at a time, aligned requests.
Not modelled: interference of reads with programs and erases, caches of fast cells that fill up, tails.
"""

from __future__ import annotations

from math import ceil

from node.hardware.device import TierSpec
from node.hardware.traffic import paged_bytes


def queued_rate_bytes_per_s(nbytes: int, depth: int, latency_s: float, rate_bytes_per_s: float) -> float:
    """Rate of requests of `nbytes` with `depth` of them in flight [bytes/s]."""
    alone_s = latency_s + nbytes / rate_bytes_per_s
    return min(depth * nbytes / alone_s, rate_bytes_per_s)


def read_time_s(tier: TierSpec, nbytes: int, depth: int = 1, request_bytes: int = 0) -> float:
    """Time to read `nbytes` of `tier` in requests of `request_bytes`, `depth` at once [s]; 0 for one request."""
    return _moved_s(tier, nbytes, depth, request_bytes, tier.read_latency_s, tier.read_bytes_per_s)


def write_time_s(
    tier: TierSpec, nbytes: int, depth: int = 1, request_bytes: int = 0, amplification: float = 1.0
) -> float:
    """Time to write; arguments as in `read_time_s`, and how many bytes move for each that is written."""
    return _moved_s(tier, nbytes, depth, request_bytes, tier.write_latency_s, tier.write_bytes_per_s / amplification)


def write_amplification(spare_share: float, appended: bool = False) -> float:
    """Bytes that a drive moves for each byte written.

    Args:
        spare_share: area beyond what users see, over what they see: 0.07 to 0.28.
        appended: blocks are written in order and die together, so nothing has to be moved.

    Raises:
        ValueError: no spare area; a full drive without it cannot collect.
    """
    if appended:
        return 1.0
    if spare_share <= 0.0:
        raise ValueError(f"spare area is {spare_share}; a drive needs some to overwrite, commonly 0.07 to 0.28")
    return max(1.0, (1.0 + spare_share) / (2.0 * spare_share))


def _moved_s(
    tier: TierSpec, nbytes: int, depth: int, request_bytes: int, latency_s: float, rate_bytes_per_s: float
) -> float:
    if nbytes <= 0:
        return 0.0
    size = paged_bytes(min(request_bytes or nbytes, nbytes), tier.page_bytes)
    requests = ceil(nbytes / (request_bytes or nbytes))
    rate = queued_rate_bytes_per_s(size, max(1, min(depth, requests)), latency_s, rate_bytes_per_s)
    # The last request is seen through to its end, however many are in flight.
    return max(requests * size / rate, latency_s + size / rate_bytes_per_s)
