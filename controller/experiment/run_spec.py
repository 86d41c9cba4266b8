"""What a user asks for: a strategy, a model and a topology by name, the workload, and what to write down."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from controller.execute.critical import PathRecord
from controller.models.shape import ModelShape
from controller.topology.fault import Fault
from node.protocol import NODE_TIMEOUT_S

LIVE_DTYPE = "fp32"
"""Element type of live runs: what the plain reference computes in, so that tokens can be equal."""
PROMPT_TOKENS = 32
"""Length of a prompt unless told otherwise."""
SEQ = 1024
"""Length of a training sequence unless told otherwise, in models that have positions for it [tokens]."""


@dataclass(frozen=True)
class RunSpec:
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
        faults: links that fail or slow down in mid-run.
        ray: address of the Ray cluster that carries the node processes of a live run; None for this machine.
        local: with values computed in this process, without nodes.
        expert_capacity: factor of the capacity of experts in place of that of the model, ``none`` for no bound; None
            for its own.
        live_faults: what breaks of the node processes of a live run, in wall time since its first plan.
        dtype, quantization, kv_dtype: in place of those of the model, see `controller.models.formats`; None for its
            own.
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
    local: bool = False
    faults: tuple[Fault, ...] = ()
    dtype: str | None = None
    quantization: str | None = None
    kv_dtype: str | None = None
    expert_capacity: str | None = None
    live_faults: tuple[Fault, ...] = ()

    @property
    def executor(self) -> str:
        """``virtual``, ``live`` or ``local``."""
        return "live" if self.live else "local" if self.local else "virtual"

    @property
    def recorder(self) -> PathRecord:
        """A fresh record of the critical path, as detailed as the request needs it."""
        return PathRecord(
            overlap=self.explain or self.report is not None,
            keeps_segments=self.trace is not None or self.report is not None,
        )


def training_seq(request: RunSpec, shape: ModelShape) -> int:
    """Tokens of a training sequence: as asked, else `SEQ` or what the model has positions for."""
    return min(SEQ, shape.max_positions) if request.seq is None else request.seq
