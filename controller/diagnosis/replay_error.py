"""How far a replayed step is from its full execution: the same arrivals, executed instead of added up."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from controller.diagnosis.entries import CampaignEntry
from controller.diagnosis.executed import Changes
from controller.diagnosis.noise import Noise
from controller.diagnosis.twin import strike_of
from controller.diagnosis.workloads import Workload

SAMPLES = 20


def replay_error(
    workload: Workload, entries: Sequence[CampaignEntry], noise: Noise, compute_s: float
) -> tuple[float, float]:
    """Mean and largest relative error of the time of `SAMPLES` collectives whose ranks enter as noise has it.

    Every sample is one collective of the workload under the changes of an entry: executed with each rank's own arrival,
    and replayed as the last arrival and the time of the collective whose ranks enter at once. Relative to the step,
    compute and collective together.
    """
    executions = workload.executions.every()
    block = noise.block(SAMPLES)
    errors = []
    for sample in range(SAMPLES):
        execution = executions[sample * len(executions) // SAMPLES]
        faults = entries[sample % len(entries)].faults if entries else ()
        changes = execution.touching(strike_of(faults, workload).changes)
        if any(ratio == 0.0 for _, ratio in changes.bandwidth):
            changes = Changes()
        arrival_s = compute_s * block.compute[sample][: execution.call.world_size]
        replayed = float(arrival_s.max()) + execution.run(changes).time_s
        executed = execution.run_from(arrival_s, changes).time_s
        errors.append(abs(replayed - executed) / executed)
    return float(np.mean(errors)), float(np.max(errors))
