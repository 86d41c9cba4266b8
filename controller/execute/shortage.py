"""How much larger a tier would have to be: the whole shortage of a run, not only the first buffer that did not fit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from controller.errors import OutOfMemory
from controller.execute.outcome import Outcome
from controller.execute.survey import survey
from controller.program.run import ProgramFunction
from controller.topology.schema import Topology

ROOMY = 1_000_000
"""Factor on every capacity, so that a program runs to its end whatever it allocates."""


@dataclass(frozen=True, slots=True)
class Shortage:
    """A tier that is too small.

    Attributes:
        device, tier: where.
        need_bytes: highest occupancy if there were room [bytes].
        capacity_bytes: what the tier holds [bytes].
    """

    device: str
    tier: str
    need_bytes: int
    capacity_bytes: int

    @property
    def missing_bytes(self) -> int:
        """How much larger the tier would have to be [bytes]."""
        return self.need_bytes - self.capacity_bytes

    def __str__(self) -> str:
        return (
            f"OOM at {self.device}.{self.tier}: {self.missing_bytes} bytes missing "
            f"(the run needs {self.need_bytes}, the tier holds {self.capacity_bytes})"
        )


def shortages(topology: Topology, programs: Sequence[ProgramFunction]) -> tuple[Shortage, ...]:
    """Every tier that the programs would overfill, in the order of the topology."""
    needs = survey(_roomy(topology), programs).peak_bytes
    found: list[Shortage] = []
    for device in topology.devices.values():
        for tier in device.spec.tiers.values():
            need = needs.get((device.name, tier.name), 0)
            if need > tier.capacity_bytes:
                found.append(Shortage(device.name, tier.name, need, tier.capacity_bytes))
    return tuple(found)


def report_shortage(
    outcome: Outcome, error: OutOfMemory | None, topology: Topology, programs: Sequence[ProgramFunction]
) -> None:
    """Makes the whole shortage the outcome of a run that ran out of memory.

    Args:
        outcome: of the run; changed.
        error: why it ended, when it was never started; None when `outcome` says so.
        topology, programs: as in the run.
    """
    if error is not None:
        outcome.ended = str(error)
        first = (error.device, error.tier)
    else:
        report = outcome.reports["out_of_memory"]
        first = (report["device"], report["tier"])
    found = shortages(topology, programs)
    outcome.reports["out_of_memory"] = [
        {
            "device": one.device,
            "tier": one.tier,
            "need_bytes": one.need_bytes,
            "missing_bytes": one.missing_bytes,
            "capacity_bytes": one.capacity_bytes,
        }
        for one in found
    ]
    for one in found:
        if (one.device, one.tier) == first:
            outcome.ended = str(one)


def _roomy(topology: Topology) -> Topology:
    devices = {
        name: replace(
            device,
            spec=replace(
                device.spec,
                tiers={
                    key: replace(tier, capacity_bytes=tier.capacity_bytes * ROOMY)
                    for key, tier in device.spec.tiers.items()
                },
            ),
        )
        for name, device in topology.devices.items()
    }
    return replace(topology, devices=devices)
