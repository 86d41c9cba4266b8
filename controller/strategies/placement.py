"""What every decoding strategy places alike: the GPU's share of a model, and token ids."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from controller.errors import BadTopology, BadWorkload
from controller.execute.program import Array, Content, Run
from controller.models.decoder import Decoder
from controller.models.stage import Stage
from controller.models.weights import weight_content
from controller.plan.build import PlanBuilder
from controller.plan.ops import Buffer, Plan, View
from controller.plan.size import Affine, symbol
from controller.strategies.generation import BoundPlan
from controller.strategies.kv_spread import even_ranges
from controller.strategies.scenario import Scenario
from controller.topology.schema import Device

PREFILL_TOKENS = 8192
"""Prompt tokens that a GPU takes in one pass; frameworks bound it so that activations stay small beside weights."""

Rows = tuple[int, int]
EmitPrefill = Callable[[PlanBuilder, Stage, int | Affine], None]
"""Adds the layers of a prompt pass whose first row is given; the row may be open."""


def devices(scenario: Scenario, kind: str, what: str, *, computes: bool = False) -> tuple[Device, ...]:
    """The devices of one kind in the topology, only those that run kernels when `computes` is set.

    Raises:
        BadTopology: there is none.
    """
    found = scenario.topology.of_kind(kind)
    if computes:
        found = tuple(device for device in found if device.spec.compute_queue is not None)
    if not found:
        wanted = f"{kind} that computes" if computes else kind
        raise BadTopology(
            f"topology {scenario.topology.name!r} has no {wanted}, which holds {what} here; choose another --topology"
        )
    return found


class GpuModel:
    """The model on one GPU: weights, stages, token ids.

    Attributes:
        gpu: name of the device.
        decoder: weights.
        ids: prompt (batch, prompt_tokens); next_ids: last tokens (batch); logits: of the last step (batch, vocab).
    """

    def __init__(self, scenario: Scenario, mini_batches: int = 1, *, by_row: bool = False) -> None:
        self.scenario = scenario
        self.gpu = devices(scenario, "gpu", "the weights")[0].name
        batch, shape = scenario.batch, scenario.shape
        self.decoder = Decoder(shape, self.gpu, "hbm", dtype=scenario.dtype)
        self.ids = Buffer(self.gpu, "hbm", "prompt_ids", "int64", (batch, scenario.prompt_tokens))
        self.next_ids = Buffer(self.gpu, "hbm", "next_ids", "int64", (batch,))
        self.logits = Buffer(self.gpu, "hbm", "logits", scenario.dtype, (batch, shape.vocab))
        parts = min(mini_batches, batch)
        self.row_ranges = even_ranges(batch, parts)
        self.lanes = tuple(
            self.decoder.decode(f"lane{index}", stop - start) for index, (start, stop) in enumerate(self.row_ranges)
        )
        per_pass = 1 if by_row else max(1, min(batch, PREFILL_TOKENS // scenario.prompt_tokens))
        self.pass_rows = per_pass
        self.passes = {
            rows: self.decoder.prefill(f"prompt{rows}", rows, scenario.prompt_tokens)
            for rows in dict.fromkeys((per_pass, batch % per_pass))
            if rows
        }

    def place(self, run: Run) -> None:
        """Weights, scratch and token ids; prompt scratch comes and goes with the prefill."""
        weights = self.scenario.weights
        for name, buffer in self.decoder.weights.items():
            run.place(buffer, None if weights is None else _values(self.scenario, name), written=True)
        ids = self.scenario.prompt_ids
        run.place(self.ids, None if ids is None else np.asarray(ids, np.int64), written=True)
        run.place(self.next_ids)
        run.place(self.logits)

    def prefill(self, run: Run, name: str, emit: EmitPrefill) -> Iterator[BoundPlan]:
        """Passes over the prompts, a few rows at a time, then the switch from prompt scratch to decode scratch."""
        plans = {rows: self._prefill_plan(f"{name} prefill", rows, emit) for rows in self.passes}
        for stage in self.passes.values():
            for buffer in stage.buffers:
                run.place(buffer, written=True)
        done = 0
        while done < self.scenario.batch:
            rows = min(self.pass_rows, self.scenario.batch - done)
            yield BoundPlan(plans[rows], {"row": done})
            done += rows
            run.progress(done, self.scenario.batch, "prefill")
        for stage in self.passes.values():
            for buffer in stage.buffers:
                run.release(buffer)
        for stage in self.lanes:
            for buffer in stage.buffers:
                run.place(buffer, written=True)

    def _prefill_plan(self, name: str, rows: int, emit: EmitPrefill) -> Plan:
        build, stage, row = PlanBuilder(name), self.passes[rows], symbol("row")
        stage.embed(build, rows_view(self.ids, row, rows), 0)
        emit(build, stage, row)
        self.emit_head(build, stage, row, rows)
        return build.plan()

    def emit_head(self, build: PlanBuilder, stage: Stage, row: int | Affine, rows: int) -> None:
        """Logits and next tokens of a stage, kept where the loop reads them."""
        logits = stage.head(build)
        build.kernel("copy", self.gpu, [logits], [rows_view(self.logits, row, rows)])
        stage.next_token(build, logits, rows_view(self.next_ids, row, rows))


def rows_view(buffer: Buffer, row: int | Affine, rows: int) -> View:
    """Rows of the first axis from `row`, which may be open."""
    row_bytes = buffer.nbytes // buffer.shape[0]
    return View(buffer, row * row_bytes, (rows, *buffer.shape[1:]))


def option_int(scenario: Scenario, name: str, default: int) -> int:
    """A whole-number option of at least 1.

    Raises:
        BadWorkload: it is none.
    """
    text = scenario.options.get(name, str(default))
    if not text.isdigit() or int(text) < 1:
        raise BadWorkload(f"option {name} is {text!r}; write a whole number of at least 1")
    return int(text)


def _values(scenario: Scenario, name: str) -> Content:
    weights = scenario.weights
    assert weights is not None

    def make() -> Array:
        return weight_content(weights, name)

    return make
