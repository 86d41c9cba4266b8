"""A live run from names: looks whether this machine can carry it, starts nodes, compares values with the plain run."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from importlib import import_module
from typing import Any

import numpy as np

from controller.errors import BadWorkload, PreflightFailed
from controller.execute.live import run_live
from controller.execute.outcome import Outcome
from controller.execute.phases import Phases
from controller.execute.survey import Survey, survey
from controller.execute.template import Costs
from controller.execute.trace import Trace
from controller.experiment import LIVE_DTYPE, PROMPT_TOKENS, AnyScenario, Experiment, Request, compare_generation
from controller.fabric.loads import Fabric
from controller.launch import Cluster, MachineSpeed, launch, measure_machine, preflight, smallest_dilation
from controller.models.gguf_weights import GgufWeights
from controller.models.plain import PlainDecoder
from controller.models.reference import generate_reference
from controller.models.reference_process import ReferenceProcess
from controller.models.shape import ModelShape
from controller.models.text import open_tokenizer
from controller.models.weights import Weights, open_weights
from controller.plan.bound import bind_attributes, tensor_type
from controller.plan.ops import Kernel, Transfer
from controller.program.run import ProgramFunction, ProgressSink
from controller.shortage import report_shortage
from controller.strategies.scenario import Scenario
from controller.strategies.table import Strategy, blaming
from controller.topology.schema import Topology
from node.hardware.operations import complete_attributes, operation


def run_live_experiment(
    request: Request,
    strategy: Strategy,
    topology: Topology,
    shape: ModelShape,
    trace: Trace | None,
    progress: ProgressSink | None,
) -> Experiment:
    """Runs `request` on node processes and compares what they generated with a plain single-process run.

    Raises:
        UserError: wrong input, or a machine that cannot carry the run; nothing was started.
        RunError: the run itself ended badly.
    """
    if request.effective_context is not None:
        raise BadWorkload("an effective context is a knob of virtual runs; a live run attends to what is there")
    phases = Phases(progress)
    phases.begin("load", "opening the weights")
    weights = open_weights(shape, request.seed, phases.say)
    ids = _prompt_ids(request, shape, weights)
    scenario = Scenario(
        topology, shape, request.batch, ids.shape[1], request.output_tokens, LIVE_DTYPE, weights, ids,
        shape.eos_tokens, options=request.options, seed=request.seed,
    )  # fmt: skip
    decoder = _plain_decoder(strategy, weights, scenario)
    with _beside(request, decoder, weights, scenario) as plain:
        experiment = run_scenario(request, strategy, topology, shape, scenario, trace, phases)
        if experiment.outcome.ok and experiment.outcome.reports.get("tokens"):
            phases.begin("reference", "plain reference")
            experiment.comparison |= _compare(experiment, weights, decoder, plain)
            phases.end()
    return experiment


def run_scenario(
    request: Request,
    strategy: Strategy,
    topology: Topology,
    shape: ModelShape,
    scenario: AnyScenario,
    trace: Trace | None,
    phases: Phases,
) -> Experiment:
    """Runs `strategy` on node processes, after a look whether the machine can carry it; compares nothing.

    On a Ray cluster each of its machines looks for itself, and this one carries no node.

    Raises:
        UserError: wrong input, or a machine that cannot carry the run; nothing was started.
        RunError: the run itself ended badly.
    """
    function = strategy.program()
    programs: list[ProgramFunction] = [lambda run: function(run, scenario)]
    phases.begin("survey", "checking every plan")
    with blaming(strategy):
        found = survey(topology, programs)
    if found.does_not_fit is not None:
        # A result like any other, found before a process was started.
        outcome = Outcome()
        report_shortage(outcome, found.does_not_fit, topology, programs)
        phases.end()
        return Experiment(request, strategy, topology, shape, scenario, outcome, trace, phases_wall_s=phases.wall_s)
    feasible = None
    if request.ray is None:
        preflight(topology, found.peak_bytes)
        if request.pace is not None:
            feasible = _checked_pace(request.pace, topology, found, measure_machine(), "this machine")
    phases.begin("start", "starting the nodes")
    with _nodes(request, topology, found) as cluster, blaming(strategy):
        if request.pace is not None and cluster.speed is not None:
            feasible = _checked_pace(request.pace, topology, found, cluster.speed, "a machine of the cluster")
        machines = dict(cluster.machines)
        record = request.recorder
        outcome = run_live(
            topology, programs, cluster, trace=trace, record=record, progress=phases.progress, phases=phases
        )
        phases.begin("stop", "stopping the nodes")
    phases.end()
    experiment = Experiment(request, strategy, topology, shape, scenario, outcome, trace, phases_wall_s=phases.wall_s)
    experiment.explanation = None if record is None else record.explain()
    if feasible is not None:
        experiment.comparison["smallest_dilation"] = feasible
    if machines:
        experiment.comparison["machines"] = machines
    return experiment


def _nodes(request: Request, topology: Topology, found: Survey) -> AbstractContextManager[Cluster]:
    """The processes of a run: on this machine, or on the Ray cluster that the request names."""
    if request.ray is None:
        return launch(topology, request.pace, needs=found.peak_bytes, node_timeout_s=request.node_timeout_s)
    from controller.launch.ray_placement import launch_on_ray

    return launch_on_ray(
        topology, request.ray, request.pace, needs=found.peak_bytes, node_timeout_s=request.node_timeout_s
    )


def _prompt_ids(request: Request, shape: ModelShape, weights: Weights) -> np.ndarray[Any, np.dtype[np.int64]]:
    """Token ids (batch, tokens): of the text, or drawn from the seed."""
    if request.prompt is not None:
        if request.prompt_tokens is not None:
            raise BadWorkload("--prompt gives the tokens itself; leave --prompt-tokens away")
        ids = np.asarray(open_tokenizer(weights).encode(request.prompt), np.int64)
        if not len(ids):
            raise BadWorkload("the prompt has no tokens; write some text")
        return np.repeat(ids[None, :], request.batch, axis=0)
    tokens = PROMPT_TOKENS if request.prompt_tokens is None else request.prompt_tokens
    if tokens < 1 or request.batch < 1:
        raise BadWorkload(f"batch {request.batch} of {tokens} prompt tokens; at least 1 of each is needed")
    drawn = np.random.default_rng(request.seed).integers(0, shape.vocab, (request.batch, tokens), np.int64)
    return np.asarray(drawn)


def _beside(
    request: Request, decoder: PlainDecoder | None, weights: Weights, scenario: Scenario
) -> AbstractContextManager[ReferenceProcess | None]:
    """The plain run, started where it may run beside the nodes: it would make those late that keep to a pace."""
    if request.pace is not None or decoder is not None or not isinstance(weights, GgufWeights):
        return nullcontext()
    assert scenario.prompt_ids is not None
    return ReferenceProcess(weights.shape, scenario.prompt_ids, scenario.output_tokens, scenario.stop_ids)


def _compare(
    experiment: Experiment, weights: Weights, decoder: PlainDecoder | None, plain: ReferenceProcess | None
) -> dict[str, Any]:
    scenario, reports = experiment.scenario, experiment.outcome.reports
    assert isinstance(scenario, Scenario) and scenario.prompt_ids is not None
    reference = None if plain is None else plain.result()
    if reference is None:
        reference = generate_reference(weights, scenario.prompt_ids, scenario.output_tokens, scenario.stop_ids, decoder)
    tokens, logits = reports.pop("tokens"), reports.pop("logits")
    rows = [[step[row] for step in tokens] for row in range(scenario.batch)]
    result: dict[str, Any] = compare_generation(rows, logits, reference.tokens, reference.logits)
    result["reference"] = reference.made_by
    result["tokens"] = rows
    if experiment.request.prompt is not None:
        result["prompt"] = experiment.request.prompt
        result["text"] = open_tokenizer(weights).decode(rows[0])
    return result


def _plain_decoder(strategy: Strategy, weights: Weights, scenario: Scenario) -> PlainDecoder | None:
    """What a live run is compared with; None for the model as it is."""
    if not strategy.reference:
        return None
    module, _, function = strategy.reference.partition(":")
    made: PlainDecoder | None = getattr(import_module(module), function)(
        weights, scenario.prompt_tokens, scenario.options
    )
    return made


def _checked_pace(pace: float, topology: Topology, found: Survey, speed: MachineSpeed, carrier: str) -> float:
    """The smallest dilation that a machine could hold for the plans of a program, estimated from its speed.

    Raises:
        PreflightFailed: the one asked for is smaller.
    """
    feasible = smallest_dilation(speed, _efforts(topology, found), busy_nodes=len(topology.devices))
    if pace < feasible:
        raise PreflightFailed(
            f"{carrier} cannot keep up with the devices at --pace {pace:g}; the smallest feasible dilation is about "
            f"{feasible:.3g}"
        )
    return feasible


def _efforts(topology: Topology, found: Survey) -> Iterator[tuple[float, float, float]]:
    """Bytes, FLOP and device time of every op of every plan, at its last binding."""
    costs = Costs(topology, Fabric(topology))
    for entry in found.plans:
        for op in entry.plan.ops:
            if isinstance(op, Kernel):
                definition = operation(op.op)
                attributes = complete_attributes(definition, bind_attributes(op.attributes, entry.last))
                inputs = tuple(tensor_type(view, entry.last) for view in op.inputs)
                outputs = tuple(tensor_type(view, entry.last) for view in op.outputs)
                demand = definition.demand(inputs, outputs, attributes)
                cost = costs.of_kernel(op, entry.last)
                time_s = cost.latency_s + (cost.work / cost.rate_limit if cost.work else 0.0)
                yield float(sum(demand.reads) + sum(demand.writes)), demand.flop, time_s
            elif isinstance(op, Transfer):
                cost = costs.of_transfer(op, 0, entry.last)
                yield 2 * cost.work, 0.0, cost.latency_s + cost.work / costs.alone_bytes_per_s(cost)
