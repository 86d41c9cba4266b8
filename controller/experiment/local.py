"""A program in this process: its values without a node, its time from the virtual clock."""

from __future__ import annotations

from collections.abc import Iterable

import psutil

from controller.errors import PreflightFailed
from controller.execute.local import run_local
from controller.execute.outcome import Outcome
from controller.execute.phases import Phases
from controller.execute.shortage import report_shortage
from controller.execute.survey import survey
from controller.execute.trace import Trace
from controller.experiment.result import AnyScenario, Experiment
from controller.experiment.run_spec import RunSpec
from controller.models.shape import ModelShape
from controller.program.run import ProgramFunction
from controller.strategies.entry import Strategy
from controller.strategies.of_your_own import blaming
from controller.topology.schema import Topology

_RAM_SHARE = 0.9
"""Of the memory that this machine has left, how much a run may take."""


def run_scenario(
    request: RunSpec,
    strategy: Strategy,
    topology: Topology,
    shape: ModelShape,
    scenario: AnyScenario,
    trace: Trace | None,
    phases: Phases,
    *,
    blank: float = 0.0,
    backwards: bool = False,
) -> Experiment:
    """Runs `strategy` in this process, after a look whether it has the memory; compares nothing.

    Args:
        request, strategy, topology, shape, scenario: what to run.
        trace: filled with the virtual timeline when given.
        phases: told of every part of the run.
        blank, backwards: of `run_local`.

    Raises:
        UserError: wrong input, or a machine without the memory; nothing was computed.
        RunError: the run itself ended badly.
    """
    function = strategy.program()
    programs: list[ProgramFunction] = [lambda run: function(run, scenario)]
    phases.begin("survey", "checking every plan")
    with blaming(strategy):
        found = survey(topology, programs)
    record = request.recorder
    if found.does_not_fit is not None:
        outcome = Outcome()
        report_shortage(outcome, found.does_not_fit, topology, programs)
    else:
        _check_memory(found.peak_bytes.values())
        phases.begin("run", "computing every plan")
        with blaming(strategy):
            outcome = run_local(
                topology, programs, trace=trace, record=record, progress=phases.progress, blank=blank,
                backwards=backwards,
            )  # fmt: skip
        if outcome.shortages is not None:
            report_shortage(outcome, None, topology, programs)
    phases.end()
    experiment = Experiment(request, strategy, topology, shape, scenario, outcome, trace, phases_wall_s=phases.wall_s)
    experiment.explanation = None if found.does_not_fit is not None else record.explain()
    return experiment


def _check_memory(needs: Iterable[int]) -> None:
    """Checks whether this process may hold every buffer, those of flash tiers among them.

    Raises:
        PreflightFailed: says how much is short and what to do.
    """
    need, has = sum(needs), int(psutil.virtual_memory().available * _RAM_SHARE)
    if need > has:
        raise PreflightFailed(
            f"the buffers of the run need {need / 1e9:.2f} GB of memory, of which this machine can give "
            f"{has / 1e9:.2f} GB; use a smaller model, batch or length, or run it virtually"
        )
