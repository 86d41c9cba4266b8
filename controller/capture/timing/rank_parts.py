"""What a rank takes of its device, and of its way to the others."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RankParts:
    """Numbers of the resources of one rank, each of capacity 1.

    Attributes:
        compute: multiprocessors.
        memory: bandwidth of the device's memory.
        inside: its port to the others of its host.
        outside: its port to other hosts.
        copies: copies between host and device.
    """

    compute: int
    memory: int
    inside: int
    outside: int
    copies: int
