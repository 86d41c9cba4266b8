"""One run from names: topology, model and strategy become an outcome, on either executor.

Sits above strategies and executors and below the command line and the reproductions, which both ask it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from controller.errors import BadWorkload
from controller.execute.critical import Explanation, PathRecord
from controller.execute.energy import Energy, energy_of
from controller.execute.flash_traffic import wear_ratio
from controller.execute.outcome import Outcome
from controller.execute.trace import Trace
from controller.execute.virtual import run_virtual
from controller.models.catalog import load_model
from controller.models.shape import ModelShape
from controller.program.run import ProgramFunction, ProgressSink
from controller.shortage import report_shortage
from controller.strategies.scenario import Scenario
from controller.strategies.table import TRAINING, Strategy, blaming, lookup
from controller.strategies.training_scenario import TrainingScenario
from controller.topology.loader import load_topology
from controller.topology.schema import Topology
from node.protocol import NODE_TIMEOUT_S

LIVE_DTYPE = "fp32"
"""Element type of live runs: what the plain reference computes in, so that tokens can be equal."""
PROMPT_TOKENS = 32
"""Length of a prompt unless told otherwise."""
SEQ = 1024
"""Length of a training sequence unless told otherwise, in models that have positions for it [tokens]."""

AnyScenario = Scenario | TrainingScenario
"""What a strategy is given, by its task."""


@dataclass(frozen=True)
class Request:
    """What a user asks for.

    Attributes:
        strategy: a name of the table or ``file.py:function``.
        model: a name or a path to a Hugging Face config.json.
        topology: a name or a path; None for the strategy's own.
        overrides: ``--set`` texts.
        catalog: folders with device sheets of one's own.
        batch, prompt_tokens, output_tokens: the workload; prompt_tokens None with a text prompt.
        seq, steps: the workload of a training strategy, beside the batch; None for `SEQ`.
        prompt: text, for live runs of models with a tokenizer.
        live: on node processes instead of on the virtual clock alone.
        node_timeout_s: how long a node of a live run may be silent [s of wall time].
        pace: wall time over device time of a paced live run; None for as fast as the machine can.
        seed: of everything that is drawn.
        options: of the strategy.
        effective_context: see `Scenario`.
        trace: file to write; None for no trace.
        explain: whether to find the critical path and the exposed transfer time.
        report: HTML file to write; None for none.
        ray: address of the Ray cluster that carries the node processes of a live run; None for this machine.
    """

    strategy: str
    model: str
    topology: str | None = None
    overrides: tuple[str, ...] = ()
    catalog: tuple[Path, ...] = ()
    batch: int = 1
    prompt_tokens: int | None = None
    output_tokens: int = 32
    prompt: str | None = None
    live: bool = False
    pace: float | None = None
    node_timeout_s: float = NODE_TIMEOUT_S
    seed: int = 0
    options: Mapping[str, str] = field(default_factory=dict)
    effective_context: float | None = None
    trace: Path | None = None
    seq: int | None = None
    steps: int = 1
    explain: bool = False
    report: Path | None = None
    ray: str | None = None

    @property
    def recorder(self) -> PathRecord | None:
        """A fresh record when the request asks why."""
        return PathRecord() if self.explain or self.report is not None else None


@dataclass(frozen=True)
class Assumption:
    """A constant of kind ``assumed`` that a run used; `device` is the group, or the name of a link."""

    device: str
    path: str
    text: str
    source: str


@dataclass
class Experiment:
    """A finished run with everything that a report needs.

    Attributes:
        phases_wall_s: what the parts of a live command took on this machine, in order; empty for a virtual one [s].
    """

    request: Request
    strategy: Strategy
    topology: Topology
    shape: ModelShape
    scenario: AnyScenario
    outcome: Outcome
    trace: Trace | None
    comparison: dict[str, Any] = field(default_factory=dict)
    explanation: Explanation | None = None
    phases_wall_s: Mapping[str, float] = field(default_factory=dict)

    @property
    def tokens_per_s(self) -> float | None:
        """Tokens over time [1/s]; None when the run did not end well.

        Tokens are what the program reports as ``generated_tokens`` or ``trained_tokens``. Time is that of the whole
        run, or of the phase that the program reports as ``rate_phase``, where only a part of the run is steady.
        """
        reports = self.outcome.reports
        tokens = reports.get("generated_tokens", reports.get("trained_tokens"))
        time_s = self.outcome.time_s
        if "rate_phase" in reports:
            time_s = self.outcome.phases.get(str(reports["rate_phase"]), 0.0)
        if not self.outcome.ok or tokens is None or time_s <= 0:
            return None
        return float(tokens) / time_s

    @property
    def energy(self) -> Energy | None:
        """What the devices drew on the virtual clock; None when the run did not end well."""
        if not self.outcome.ok or self.outcome.time_s <= 0:
            return None
        tokens = self.outcome.reports.get("generated_tokens", self.outcome.reports.get("trained_tokens", 0))
        return energy_of(self.topology, self.outcome.resources, self.outcome.time_s, float(tokens))

    def to_json(self) -> dict[str, Any]:
        """The object of ``run --json``."""
        outcome, scenario, energy = self.outcome, self.scenario, self.energy
        return {
            "strategy": self.strategy.name,
            "executor": "live" if self.request.live else "virtual",
            "topology": self.topology.name,
            "model": self.shape.name,
            "workload": scenario.workload(),
            "outcome": outcome.ended,
            "time_s": outcome.time_s,
            "wall_s": outcome.wall_s,
            "phases_wall_s": dict(self.phases_wall_s),
            "paced_s": outcome.paced_s,
            "prefill_s": outcome.phases.get("prefill"),
            "decode_s": outcome.phases.get("decode"),
            "phases": dict(outcome.phases),
            "paced_phases": dict(outcome.paced_phases),
            "tokens_per_s": self.tokens_per_s,
            "energy_j": None if energy is None else energy.energy_j,
            "energy": None if energy is None else energy.to_json(),
            "reports": dict(outcome.reports),
            "by_resource": [
                {
                    "name": use.name,
                    "kind": use.kind,
                    "unit": use.unit,
                    "busy_s": use.busy_s,
                    "busy_ratio": use.busy_ratio,
                    "amount": use.amount,
                }
                for use in outcome.resources
            ],
            "by_op": [
                {"label": entry.label, "count": entry.count, "time_s": entry.time_s, "paced_s": entry.paced_s}
                for entry in outcome.op_times
            ],
            "peak_bytes": dict(outcome.peak_bytes),
            "flash": {
                name: {
                    "read_bytes": use.read_bytes,
                    "written_bytes": use.written_bytes,
                    "wear_ratio": wear_ratio(self.topology, name, use.written_bytes),
                }
                for name, use in outcome.flash.items()
            },
            "assumed": [vars(entry) for entry in assumptions(self.topology)],
            "overruns": outcome.overruns,
            "provenance": {
                "version": version("windtunnel"),
                "topology_digest": self.topology.digest,
                "seed": scenario.seed,
                "overrides": list(self.topology.overrides),
            },
            "trace": None if self.request.trace is None else str(self.request.trace),
            "explanation": None if self.explanation is None else self.explanation.to_json(),
            **self.comparison,
        }


def assumptions(topology: Topology) -> tuple[Assumption, ...]:
    """Every assumed constant of a topology: of its devices, each product once, and of its links."""
    found: dict[tuple[str, str, str], Assumption] = {}
    for device in topology.devices.values():
        for constant in device.spec.constants.values():
            if constant.kind == "assumed":
                key = (device.group, constant.path, constant.text)
                found.setdefault(key, Assumption(device.group, constant.path, constant.text, constant.source))
    for link in topology.links:
        for constant in link.constants.values():
            if constant.kind == "assumed":
                key = (link.name, constant.path, constant.text)
                found.setdefault(key, Assumption(link.name, constant.path, constant.text, constant.source))
    return tuple(found.values())


def prepare(request: Request) -> tuple[Strategy, Topology, ModelShape]:
    """Loads what the request names.

    Raises:
        UserError: an unknown name, a wrong file or a wrong override.
    """
    strategy = lookup(request.strategy)
    strategy.check_options(request.options)
    topology = load_topology(request.topology or strategy.topology, request.overrides, request.catalog)
    return strategy, topology, load_model(request.model)


def training_seq(request: Request, shape: ModelShape) -> int:
    """Tokens of a training sequence: as asked, else `SEQ` or what the model has positions for."""
    return min(SEQ, shape.max_positions) if request.seq is None else request.seq


def virtual_scenario(request: Request, strategy: Strategy, topology: Topology, shape: ModelShape) -> AnyScenario:
    """The scenario of a virtual run: shapes only, in the published element type.

    Raises:
        BadWorkload: a workload that cannot be.
    """
    if strategy.task == TRAINING:
        return TrainingScenario(
            topology, shape, request.batch, training_seq(request, shape), request.steps,
            "fp16" if shape.dtype == "fp32" else shape.dtype, options=request.options, seed=request.seed,
        )  # fmt: skip
    return Scenario(
        topology,
        shape,
        request.batch,
        PROMPT_TOKENS if request.prompt_tokens is None else request.prompt_tokens,
        request.output_tokens,
        shape.dtype,
        effective_context=request.effective_context,
        options=request.options,
        seed=request.seed,
    )


def run_experiment(request: Request, *, progress: ProgressSink | None = None) -> Experiment:
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
            from controller.live_training import run_live_training

            return run_live_training(request, strategy, topology, shape, trace, progress)
        from controller.live_experiment import run_live_experiment

        return run_live_experiment(request, strategy, topology, shape, trace, progress)
    if request.prompt is not None:
        raise BadWorkload("a text prompt needs values: add --live, or give its length with --prompt-tokens")
    if request.pace is not None:
        raise BadWorkload("--pace holds node processes to device speed: add --live")
    if request.ray is not None:
        raise BadWorkload("--ray places node processes on a Ray cluster: add --live")
    scenario = virtual_scenario(request, strategy, topology, shape)
    program = strategy.program()
    programs: list[ProgramFunction] = [lambda run: program(run, scenario)]
    record = request.recorder
    with blaming(strategy):
        outcome = run_virtual(topology, programs, trace=trace, record=record, progress=progress)
    if "out_of_memory" in outcome.reports:
        report_shortage(outcome, None, topology, programs)
    explanation = None if record is None else record.explain()
    return Experiment(request, strategy, topology, shape, scenario, outcome, trace, explanation=explanation)


def compare_generation(
    tokens: Sequence[Sequence[int]],
    logits: Sequence[Any],
    expected_tokens: Sequence[Sequence[int]],
    expected_logits: Any,
) -> dict[str, Any]:
    """How a live generation differs from the plain one.

    Args:
        tokens: generated ids of each row, up to the end of the run.
        logits: of every step, each (rows, vocab).
        expected_tokens: ids of the reference for each row, cut after the token that ended it.
        expected_logits: of the reference (steps, rows, vocab).

    Returns:
        ``tokens_equal`` of ``tokens_compared``, and ``max_logit_difference`` over all steps whose context was equal.
    """
    equal = compared = 0
    worst = 0.0
    for row, (ours, expected) in enumerate(zip(tokens, expected_tokens, strict=True)):
        compared += len(expected)
        same_context = True
        for step, (our_token, token) in enumerate(zip(ours, expected, strict=False)):
            if same_context:
                difference = np.abs(np.asarray(logits[step])[row].astype(np.float64) - expected_logits[step][row])
                worst = max(worst, float(difference.max()))
            equal += our_token == token
            same_context = same_context and our_token == token
    return {"tokens_equal": equal, "tokens_compared": compared, "max_logit_difference": worst}
