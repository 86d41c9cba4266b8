"""What `Run.faults` tells a program."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class DeviceLost:
    """A device that died or has fallen silent.

    Attributes:
        device: its name.
        at_s: when it was noticed [s].
        how: ``died``, or how long it was silent.
    """

    device: str
    at_s: float
    how: str
