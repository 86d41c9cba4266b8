"""How much larger a tier would have to be: the whole shortage of a run, not only the first buffer that did not fit."""

from __future__ import annotations

from collections.abc import Sequence

from controller.errors import OutOfMemory
from controller.execute.outcome import Outcome, Shortage
from controller.execute.survey import survey
from controller.program.run import ProgramFunction
from controller.topology.capacities import with_capacities
from controller.topology.schema import Topology

ROOMY = 1_000_000
"""Factor on every capacity, so that a program runs to its end whatever it allocates."""


def shortages(topology: Topology, programs: Sequence[ProgramFunction]) -> tuple[Shortage, ...]:
    """Every tier that the programs would overfill, in the order of the topology."""
    roomy = with_capacities(topology, lambda device, tier, capacity: capacity * ROOMY)
    needs = survey(roomy, programs).peak_bytes
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
        outcome.run_out(error)
        first = (error.device, error.tier)
    else:
        assert outcome.shortages, "the run ran out of memory"
        first = (outcome.shortages[0].device, outcome.shortages[0].tier)
    found = shortages(topology, programs)
    # Nothing is short where a program takes a share of a tier and asks for more than that.
    outcome.shortages = found or outcome.shortages
    for one in found:
        if (one.device, one.tier) == first:
            outcome.ended = str(one)
