"""Runs what a user asks for on the executor that the request names."""

from __future__ import annotations

from controller.errors import BadWorkload
from controller.execute.strips import Strips
from controller.execute.trace import Trace
from controller.experiment.idle import idle_notes
from controller.experiment.result import Experiment
from controller.experiment.run_spec import RunSpec
from controller.experiment.scenario_runner import RunScenario
from controller.experiment.virtual import prepare, run_virtual_experiment
from controller.models.shape import ModelShape
from controller.program.run import ProgressSink
from controller.strategies.entry import TRAINING, Strategy
from controller.topology.schema import Topology


def run_experiment(request: RunSpec, *, progress: ProgressSink | None = None) -> Experiment:
    """Runs what `request` asks for.

    Raises:
        UserError: wrong input; nothing was started.
        RunError: the run itself ended badly (a dead node, a deadlock).
    """
    strategy, topology, shape = prepare(request)
    trace = None
    if request.trace is not None or request.report is not None:
        trace = Trace(strips=Strips() if request.report is not None else None)
    if request.seed < 0:
        raise BadWorkload(f"seed {request.seed} is negative; take 0 or more")
    for option, path in (("--trace", request.trace), ("--report", request.report)):
        if path is not None and not path.absolute().parent.is_dir():
            raise BadWorkload(f"{option} {path}: there is no folder {path.absolute().parent}; make it first")
    if request.live and request.local:
        raise BadWorkload("--live and --local name two executors: remove one of them")
    for option, value in (("--pace", request.pace), ("--ray", request.ray)):
        if request.local and value is not None:
            raise BadWorkload(f"{option} is for node processes, and --local starts none: write --live in its place")
    experiment = _run(request, strategy, topology, shape, trace, progress)
    if experiment.outcome.ok:
        experiment.outcome.notes += idle_notes(topology, experiment.outcome)
    return experiment


def _run(
    request: RunSpec,
    strategy: Strategy,
    topology: Topology,
    shape: ModelShape,
    trace: Trace | None,
    progress: ProgressSink | None,
) -> Experiment:
    if request.live or request.local:
        if request.dtype is not None:
            raise BadWorkload(f"--dtype {request.dtype} is of virtual runs: remove it, or --{request.executor}")
        if shape.without_values:
            raise BadWorkload(
                f"{shape.name} cannot run with values: {shape.without_values[0]}; remove --{request.executor}"
            )
        if strategy.task == TRAINING and shape.rope_scaling:
            raise BadWorkload(
                f"{shape.name} has a rotation scaled for longer contexts, which training with values lacks; remove "
                f"--{request.executor}"
            )
        return _run_with_values(request, strategy, topology, shape, trace, progress)
    return run_virtual_experiment(request, strategy, topology, shape, trace, progress)


def _run_with_values(
    request: RunSpec,
    strategy: Strategy,
    topology: Topology,
    shape: ModelShape,
    trace: Trace | None,
    progress: ProgressSink | None,
) -> Experiment:
    """Imports what the executor and the task need: torch in any case, grpc for nodes alone."""
    run_scenario: RunScenario
    if request.local:
        from controller.experiment.local import run_scenario
    else:
        from controller.experiment.live import run_scenario
    if strategy.task == TRAINING:
        from controller.experiment.training import run_training

        return run_training(request, strategy, topology, shape, trace, progress, run_scenario)
    from controller.experiment.generation import run_generation

    return run_generation(request, strategy, topology, shape, trace, progress, run_scenario)
