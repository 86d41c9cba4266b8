"""Host DRAM and CXL memory: bandwidth by mix of reads and writes, and latency by load.

Model: `channels` move 8 bytes a transfer; sustained reads reach `READ_SHARE` of that. A bus that turns around loses
time in proportion to the share of writes w, counted on the bus: rate = reads alone / (1 + `TURN_COST` w). What a store
costs on the bus (reading the line first) is the caller's to count. Latency under load grows like a queue with one
server: idle + u / (2 (1 - u)) x service time, u the share of the bandwidth in use. With channels told apart a line
queues twice: for its bank, which is busy for a row cycle with each, and for the bus of its channel. A CXL card adds the
link both ways and has a limit in each direction.
Source: JEDEC DDR4/DDR5 (64-bit channel, 16 banks a rank, row cycle of 46 ns); M/D/1 queue (Kleinrock, Queueing Systems
I, 1975). `READ_SHARE` and `TURN_COST` are fitted to Intel MLC on a two-socket Xeon Platinum 8180 (FD.io CSIT,
Apache-2.0); other servers of that set are left out of the fit.
Valid for: all cores of a server streaming, memory of all channels.
Not modelled: NUMA traffic, prefetchers, row conflicts, refresh.
"""

from __future__ import annotations

from typing import Final

CHANNEL_BYTES: Final = 8
"""Bytes of a transfer on one DDR channel."""
READ_SHARE: Final = 0.845
"""Fitted: share of the printed bandwidth that reads alone reach."""
BANKS: Final = 32
"""Banks of a channel with two ranks."""
ROW_CYCLE_S: Final = 46e-9
"""From opening a row of a bank to opening the next one [s]."""
TURN_COST: Final = 0.80
"""Fitted: time that each share of writes adds to a byte, over that of a read."""


def channel_bytes_per_s(channels: int, mega_transfers: float) -> float:
    """Printed bandwidth [bytes/s] of `channels` at `mega_transfers` [MT/s]."""
    return channels * CHANNEL_BYTES * mega_transfers * 1e6


def mixed_bytes_per_s(printed_bytes_per_s: float, write_share: float) -> float:
    """Reads and writes together [bytes/s], `write_share` of the bytes being writes.

    Raises:
        ValueError: a share outside 0 to 1.
    """
    if not 0.0 <= write_share <= 1.0:
        raise ValueError(f"write share is {write_share}; it lies between 0 and 1")
    return printed_bytes_per_s * READ_SHARE / (1.0 + TURN_COST * write_share)


def loaded_latency_s(idle_s: float, used_bytes_per_s: float, limit_bytes_per_s: float, line_bytes: int = 64) -> float:
    """Latency of one access while others use `used_bytes_per_s` [s]; infinite at the limit.

    Args:
        idle_s: latency with nothing else [s].
        used_bytes_per_s: by everybody [bytes/s].
        limit_bytes_per_s: that the memory sustains for this mix [bytes/s].
        line_bytes: of one access [bytes].
    """
    used = used_bytes_per_s / limit_bytes_per_s
    if used >= 1.0:
        return float("inf")
    return idle_s + used / (2.0 * (1.0 - used)) * line_bytes / limit_bytes_per_s


def queued_latency_s(
    idle_s: float,
    used_bytes_per_s: float,
    limit_bytes_per_s: float,
    channels: int,
    banks: int = BANKS,
    line_bytes: int = 64,
) -> float:
    """Latency of one access of a random address while others use `used_bytes_per_s` [s]; infinite at the limit.

    Args:
        idle_s: latency with nothing else [s].
        used_bytes_per_s: by everybody, spread evenly over random rows [bytes/s].
        limit_bytes_per_s: that the memory sustains for this mix [bytes/s].
        channels: that share it.
        banks: of one channel.
        line_bytes: of one access [bytes].

    Raises:
        ValueError: no channel or no bank.
    """
    if channels < 1 or banks < 1:
        raise ValueError(f"{channels} channels of {banks} banks; at least one each")
    bus_s = loaded_latency_s(0.0, used_bytes_per_s, limit_bytes_per_s, line_bytes * channels)
    bank_limit = channels * banks * line_bytes / ROW_CYCLE_S
    return idle_s + bus_s + loaded_latency_s(0.0, used_bytes_per_s, bank_limit, line_bytes * channels * banks)


def cxl_bytes_per_s(
    write_share: float, memory_bytes_per_s: float, in_bytes_per_s: float, out_bytes_per_s: float
) -> float:
    """Rate of a CXL card [bytes/s]: the least of its memory for this mix and of the link in each direction.

    Args:
        write_share: of the bytes.
        memory_bytes_per_s: printed bandwidth of the memory on the card [bytes/s].
        in_bytes_per_s, out_bytes_per_s: of its link, into the card and out of it [bytes/s].
    """
    limits = [mixed_bytes_per_s(memory_bytes_per_s, write_share)]
    if write_share > 0.0:
        limits.append(in_bytes_per_s / write_share)
    if write_share < 1.0:
        limits.append(out_bytes_per_s / (1.0 - write_share))
    return min(limits)
