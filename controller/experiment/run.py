"""Runs what a user asks for on the executor that the request names."""

from __future__ import annotations

from controller.errors import BadWorkload
from controller.execute.trace import Trace
from controller.experiment.result import Experiment
from controller.experiment.run_spec import RunSpec
from controller.experiment.virtual import prepare, run_virtual_experiment
from controller.program.run import ProgressSink
from controller.strategies.table import TRAINING


def run_experiment(request: RunSpec, *, progress: ProgressSink | None = None) -> Experiment:
    """Runs what `request` asks for.

    Raises:
        UserError: wrong input; nothing was started.
        RunError: the run itself ended badly (a dead node, a deadlock).
    """
    strategy, topology, shape = prepare(request)
    trace = Trace() if request.trace is not None or request.report is not None else None
    if request.seed < 0:
        raise BadWorkload(f"seed {request.seed} is negative; take 0 or more")
    for option, path in (("--trace", request.trace), ("--report", request.report)):
        if path is not None and not path.absolute().parent.is_dir():
            raise BadWorkload(f"{option} {path}: there is no folder {path.absolute().parent}; make it first")
    if request.live:
        if strategy.task == TRAINING:
            from controller.experiment.live_training import run_live_training

            return run_live_training(request, strategy, topology, shape, trace, progress)
        from controller.experiment.live_generation import run_live_generation

        return run_live_generation(request, strategy, topology, shape, trace, progress)
    return run_virtual_experiment(request, strategy, topology, shape, trace, progress)
