"""What breaks of a topology, as data that it carries; `controller.faults` reads, checks and applies it."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import inf

DEAD, FROZEN, SLOW, BANDWIDTH, LOSS = "dead", "frozen", "slow", "bandwidth", "loss"
FLAP, CORRUPT, READ_RETRIES = "flap", "corrupt", "read_retries"
STEP, RAMP, ON_OFF, FLIPS = "step", "ramp", "on_off", "flips"


@dataclass(frozen=True, slots=True, order=True)
class Component:
    """A part of a cluster that can break.

    Attributes:
        kind: device, process, tier, port, link, nic, switch, host or rack; "" until the topology is known.
        name: as the topology has it; ``DEVICE.TIER`` and ``DEVICE.PORT`` for parts of a device.
    """

    kind: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind} {self.name}" if self.kind else self.name


@dataclass(frozen=True, slots=True)
class Shape:
    """How the severity of a fault goes over its time.

    Attributes:
        kind: ``step``, ``ramp``, ``on_off`` or ``flips``.
        rise_s: of a ramp, from nothing to all of it [s].
        on_s, off_s: of ``on_off`` how long each lasts, of ``flips`` its mean [s].
        seed: of the lengths of ``flips``.
    """

    kind: str = STEP
    rise_s: float = 0.0
    on_s: float = 0.0
    off_s: float = 0.0
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Fault:
    """Something that breaks or becomes slow in the middle of a run.

    Attributes:
        target: which part.
        kind: how: dead, frozen, slow, bandwidth, loss, flap, corrupt or read_retries.
        severity: how much, in the unit of its kind (`controller.faults.kinds`).
        at_s: when it begins [s].
        for_s: how long it lasts [s]; None for good.
        shape: how its severity goes over that time.
        text: as the user wrote it.
        where: ``FILE:LINE`` of its declaration; "" on the command line.
    """

    target: Component
    kind: str
    severity: float
    at_s: float
    for_s: float | None = None
    shape: Shape = Shape()
    text: str = ""
    where: str = field(default="", compare=False)

    @property
    def until_s(self) -> float:
        """When it ends [s]; inf for one that lasts for good."""
        return inf if self.for_s is None else self.at_s + self.for_s

    def __str__(self) -> str:
        said = self.text or f"{self.target} {self.kind}"
        return f"{self.where}: fault {said!r}" if self.where else f"fault {said!r}"
