"""A training run with values, from names: draws the data, runs it, compares losses and parameters with plain torch."""

from __future__ import annotations

from controller.errors import BadWorkload
from controller.execute.phases import Phases
from controller.execute.trace import Trace
from controller.experiment.result import Experiment
from controller.experiment.run_spec import LIVE_DTYPE, RunSpec, training_seq
from controller.experiment.scenario_runner import RunScenario
from controller.experiment.values import compare_training
from controller.models.shape import ModelShape
from controller.models.training import InitialWeights, draw_tokens
from controller.models.training_reference import train_reference
from controller.models.training_scenario import TrainingScenario
from controller.program.results import TrainingResult
from controller.program.run import ProgressSink
from controller.strategies.entry import Strategy
from controller.topology.schema import Topology


def training_scenario(request: RunSpec, strategy: Strategy, topology: Topology, shape: ModelShape) -> TrainingScenario:
    """The scenario of a request with values, drawn from its seed.

    Raises:
        BadWorkload: sizes that cannot be.
    """
    seq = training_seq(request, shape)
    for name, value in (("--batch", request.batch), ("--seq", seq), ("--steps", request.steps)):
        if value < 1:
            raise BadWorkload(f"{name} is {value}; at least 1 is needed")
    weights = InitialWeights(shape, request.seed)
    gpus = max(1, len(topology.of_kind("gpu")))
    token_ids = draw_tokens(shape, request.steps, gpus, request.batch, seq, request.seed)
    return TrainingScenario(
        topology,
        shape,
        request.batch,
        seq,
        request.steps,
        LIVE_DTYPE,
        weights,
        token_ids,
        strategy.read_options(request.options),
        request.seed,
    )


def run_training(
    request: RunSpec,
    strategy: Strategy,
    topology: Topology,
    shape: ModelShape,
    trace: Trace | None,
    progress: ProgressSink | None,
    run_scenario: RunScenario,
) -> Experiment:
    """Runs `request` on an executor that has values and compares losses and parameters with a plain run.

    Raises:
        UserError: wrong input, or a machine that cannot carry the run; nothing was started.
        RunError: the run itself ended badly.
    """
    phases = Phases(progress)
    phases.begin("load", "drawing weights and tokens")
    scenario = training_scenario(request, strategy, topology, shape)
    weights, token_ids = scenario.weights, scenario.token_ids
    assert weights is not None and token_ids is not None, "this executor has values"
    experiment = run_scenario(request, strategy, topology, shape, scenario, trace, phases)
    result = experiment.outcome.result
    if not experiment.outcome.ok:
        return experiment
    if not isinstance(result, TrainingResult) or result.losses is None:
        experiment.comparison["not_compared"] = "the program returned no losses, so no value was compared"
        return experiment
    phases.begin("reference", "plain reference")
    reference = train_reference(weights, token_ids[:, : result.gpus])
    phases.end()
    experiment.comparison |= compare_training(list(result.losses), result.parameters, reference)
    return experiment
