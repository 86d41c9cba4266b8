"""Runs on the virtual clock: loads what a request names, and executes it with shapes only."""

from __future__ import annotations

from controller.errors import BadWorkload
from controller.execute.shortage import report_shortage
from controller.execute.trace import Trace
from controller.execute.virtual import run_virtual
from controller.experiment.result import AnyScenario, Experiment
from controller.experiment.run_spec import PROMPT_TOKENS, RunSpec, training_seq
from controller.faults.timeline import with_faults
from controller.models.capacity import with_capacity
from controller.models.catalog import load_model
from controller.models.formats import in_formats
from controller.models.on_hardware import on_hardware
from controller.models.scenario import Scenario
from controller.models.shape import ModelShape
from controller.models.training_scenario import TrainingScenario
from controller.program.run import AnyProgram, ProgramFunction, ProgressSink, Run
from controller.strategies.entry import TRAINING, Strategy
from controller.strategies.of_your_own import blaming
from controller.strategies.table import check_model, lookup
from controller.topology.loader import load_topology
from controller.topology.schema import Topology


def prepare(request: RunSpec) -> tuple[Strategy, Topology, ModelShape]:
    """Loads what the request names.

    Raises:
        UserError: an unknown name, a wrong file or a wrong override.
    """
    strategy = lookup(request.strategy)
    strategy.read_options(request.options)
    if strategy.task == TRAINING and (request.prompt is not None or request.effective_context is not None):
        raise BadWorkload("--prompt and --effective-context are for generation; training takes --batch, --seq, --steps")
    topology = load_topology(request.topology or strategy.topology, request.overrides, request.catalog)
    shape = in_formats(load_model(request.model), request.dtype, request.quantization, request.kv_dtype)
    shape = with_capacity(shape, request.expert_capacity)
    if strategy.task == TRAINING and request.kv_dtype is not None:
        raise BadWorkload(f"--kv-dtype {request.kv_dtype}: training keeps no KV cache; remove --kv-dtype")
    check_model(strategy, shape)
    shape = on_hardware(shape, topology)
    return strategy, with_faults(topology, request.faults), shape


def virtual_scenario(request: RunSpec, strategy: Strategy, topology: Topology, shape: ModelShape) -> AnyScenario:
    """The scenario of a virtual run: shapes only, in the published element type.

    Raises:
        BadWorkload: an impossible workload.
    """
    options = strategy.read_options(request.options)
    if strategy.task == TRAINING:
        return TrainingScenario(
            topology, shape, request.batch, training_seq(request, shape), request.steps,
            "fp16" if shape.dtype == "fp32" else shape.dtype, options=options, seed=request.seed,
        )  # fmt: skip
    return Scenario(
        topology,
        shape,
        request.batch,
        PROMPT_TOKENS if request.prompt_tokens is None else request.prompt_tokens,
        request.output_tokens,
        shape.dtype,
        effective_context=request.effective_context,
        options=options,
        seed=request.seed,
    )


def run_virtual_experiment(
    request: RunSpec,
    strategy: Strategy,
    topology: Topology,
    shape: ModelShape,
    trace: Trace | None,
    progress: ProgressSink | None,
) -> Experiment:
    """Runs `request` on the virtual clock alone.

    Raises:
        UserError: an impossible workload, or an option of live runs.
    """
    if request.prompt is not None:
        raise BadWorkload("a text prompt needs values: add --live or --local, or give its length with --prompt-tokens")
    if request.pace is not None:
        raise BadWorkload("--pace holds node processes to device speed: add --live")
    if request.ray is not None:
        raise BadWorkload("--ray places node processes on a Ray cluster: add --live")
    scenario = virtual_scenario(request, strategy, topology, shape)
    program = strategy.program()

    def noted(run: Run) -> AnyProgram:
        for note in shape.notes:
            run.note(f"not modelled: {note}")
        return program(run, scenario)

    programs: list[ProgramFunction] = [noted]
    record = request.recorder
    with blaming(strategy):
        outcome = run_virtual(topology, programs, trace=trace, record=record, progress=progress)
    if outcome.shortages is not None:
        report_shortage(outcome, None, topology, programs)
    explanation = record.explain()
    return Experiment(request, strategy, topology, shape, scenario, outcome, trace, explanation=explanation)
