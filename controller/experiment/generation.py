"""A generation with values, from names: makes the prompt, runs it, compares tokens and logits with a plain run."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from importlib import import_module
from typing import Any

import numpy as np

from controller.errors import BadWorkload
from controller.execute.phases import Phases
from controller.execute.trace import Trace
from controller.experiment.result import Experiment
from controller.experiment.rounding import cache_tolerance, judge_rounding
from controller.experiment.run_spec import LIVE_DTYPE, PROMPT_TOKENS, RunSpec
from controller.experiment.scenario_runner import RunScenario
from controller.experiment.values import compare_generation
from controller.models.gguf_weights import GgufWeights
from controller.models.plain import PlainDecoder
from controller.models.plain_rounded import RoundedDecoder
from controller.models.reference import Reference, generate_reference
from controller.models.reference_process import ReferenceProcess
from controller.models.scenario import Scenario
from controller.models.shape import ModelShape
from controller.models.text import open_tokenizer
from controller.models.weights import Weights, open_weights
from controller.offload.gpu_model import prompt_rows
from controller.program.results import GenerationResult
from controller.program.run import ProgressSink
from controller.strategies.entry import Strategy
from controller.topology.schema import Topology


def run_generation(
    request: RunSpec,
    strategy: Strategy,
    topology: Topology,
    shape: ModelShape,
    trace: Trace | None,
    progress: ProgressSink | None,
    run_scenario: RunScenario,
) -> Experiment:
    """Runs `request` on an executor that has values and compares what it generated with a plain run.

    Raises:
        UserError: wrong input, or a machine that cannot carry the run; nothing was started.
        RunError: the run itself ended badly.
    """
    if request.effective_context is not None:
        raise BadWorkload(
            f"an effective context is a knob of virtual runs; a {request.executor} run attends to what is there"
        )
    phases = Phases(progress)
    phases.begin("load", "opening the weights")
    weights = open_weights(shape, request.seed, phases.say, request.model or "")
    ids = _prompt_ids(request, shape, weights)
    scenario = Scenario(
        topology, shape, request.batch, ids.shape[1], request.output_tokens, LIVE_DTYPE, weights, ids,
        shape.eos_tokens, options=strategy.read_options(request.options), seed=request.seed,
    )  # fmt: skip
    decoder = _plain_decoder(strategy, weights, scenario)
    with _beside(request, decoder, weights, scenario) as plain:
        experiment = run_scenario(request, strategy, topology, shape, scenario, trace, phases)
        result = experiment.outcome.result
        if experiment.outcome.ok and isinstance(result, GenerationResult) and result.tokens:
            phases.begin("reference", "plain reference")
            experiment.comparison |= _compare(experiment, result, weights, decoder, plain)
            phases.end()
    return experiment


def _prompt_ids(request: RunSpec, shape: ModelShape, weights: Weights) -> np.ndarray[Any, np.dtype[np.int64]]:
    """Token ids (batch, tokens): of the text, or drawn from the seed."""
    if request.prompt is not None:
        if request.prompt_tokens is not None:
            raise BadWorkload("--prompt already gives the tokens: remove --prompt-tokens")
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
    request: RunSpec, decoder: PlainDecoder | None, weights: Weights, scenario: Scenario
) -> AbstractContextManager[ReferenceProcess | None]:
    """The plain run, started where it may run beside the nodes: it would make those late that keep to a pace."""
    beside_nodes = request.live and request.pace is None
    if not beside_nodes or decoder is not None or not isinstance(weights, GgufWeights):
        return nullcontext()
    assert scenario.prompt_ids is not None
    return ReferenceProcess(weights.shape, scenario.prompt_ids, scenario.output_tokens, scenario.stop_ids)


def _compare(
    experiment: Experiment,
    generated: GenerationResult,
    weights: Weights,
    decoder: PlainDecoder | None,
    plain: ReferenceProcess | None,
) -> dict[str, Any]:
    scenario = experiment.scenario
    assert isinstance(scenario, Scenario) and scenario.prompt_ids is not None
    reference = None if plain is None else plain.result()
    if reference is None:
        reference = generate_reference(weights, scenario.prompt_ids, scenario.output_tokens, scenario.stop_ids, decoder)
    rows = [[step[row] for step in generated.tokens] for row in range(scenario.batch)]
    result: dict[str, Any] = compare_generation(rows, generated.logits, reference.tokens, reference.logits)
    cache = _cache_tolerance(scenario, weights, reference, decoder) if not generated.rounded else None
    result |= judge_rounding(scenario, result, generated.rounded, cache)
    if scenario.shape.quantization is not None:
        exact = _unrounded(weights, scenario)
        whole = generate_reference(weights, scenario.prompt_ids, scenario.output_tokens, scenario.stop_ids, exact)
        against = compare_generation(rows, generated.logits, whole.tokens, whole.logits)
        result["fp32_logit_error_ratio"] = against["logit_error_ratio"]
        result["fp32_tokens_equal"] = against["tokens_equal"]
    result["reference"] = reference.made_by
    result["tokens"] = rows
    if experiment.request.prompt is not None:
        result["prompt"] = experiment.request.prompt
        result["text"] = open_tokenizer(weights).decode(rows[0])
    return result


def _cache_tolerance(
    scenario: Scenario, weights: Weights, reference: Reference, decoder: PlainDecoder | None
) -> float | None:
    """How far logits may be from a reference that rounds its cache; None where it rounds none, or more than that."""
    quantization = scenario.shape.quantization
    rounds = quantization is not None and quantization.activations
    if not isinstance(decoder, RoundedDecoder) or scenario.kv_dtype == scenario.dtype or rounds:
        return None
    assert scenario.prompt_ids is not None
    exact = _unrounded(weights, scenario)
    if quantization is not None:
        exact = RoundedDecoder(weights, quantization, "fp32", scenario.prompt_tokens, prompt_rows(scenario))
    whole = generate_reference(weights, scenario.prompt_ids, scenario.output_tokens, scenario.stop_ids, exact)
    rows = [list(row) for row in reference.tokens]
    error = compare_generation(rows, list(reference.logits), whole.tokens, whole.logits)["logit_error_ratio"]
    return cache_tolerance(scenario.kv_dtype, error)


def _plain_decoder(strategy: Strategy, weights: Weights, scenario: Scenario) -> PlainDecoder | None:
    """What a run is compared with; None for the model as it is."""
    quantization = scenario.shape.quantization
    rounds = quantization is not None or scenario.kv_dtype != scenario.dtype
    if rounds and not strategy.reference:
        return RoundedDecoder(weights, quantization, scenario.kv_dtype, scenario.prompt_tokens, prompt_rows(scenario))
    if not strategy.reference:
        return _unrounded(weights, scenario)
    module, _, function = strategy.reference.partition(":")
    made: PlainDecoder | None = getattr(import_module(module), function)(
        weights, scenario.prompt_tokens, scenario.options
    )
    return made


def _unrounded(weights: Weights, scenario: Scenario) -> PlainDecoder | None:
    """The model as it is; None where it needs not be told which tokens a pass has."""
    if "capacity" not in scenario.shape.parts:
        return None
    return PlainDecoder(weights, scenario.prompt_tokens, prompt_rows(scenario))
