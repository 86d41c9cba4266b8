"""What every decoding strategy places alike: the GPU's share of a model, and token ids."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from controller.errors import BadTopology
from controller.models.decoder import Decoder
from controller.models.scenario import Scenario
from controller.models.weights import weight_content
from controller.offload.generation import BoundPlan
from controller.plan.build import PlanBuilder
from controller.plan.ops import Buffer, Plan, View
from controller.plan.ranges import even_ranges
from controller.plan.size import Affine, symbol
from controller.program.run import Array, Content, Run
from controller.strategies.lane import Lane
from controller.topology.schema import Device

PREFILL_TOKENS = 8192
"""Prompt tokens that a GPU takes in one pass; frameworks bound it so that activations stay small beside weights."""

Rows = tuple[int, int]
EmitPrefill = Callable[[PlanBuilder, Lane, int | Affine], None]
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
    """The model on the GPUs of the topology, its layers spread over them in order: weights, stages, token ids.

    Attributes:
        gpus: names of the devices.
        decoders: weights, one a GPU.
        ids: prompt (batch, prompt_tokens) on the first GPU; next_ids: last tokens (batch) on the last one.
        logits: of the last step (batch, vocab), on the last GPU.
        lanes: decode, one a mini-batch; row_ranges: the sequences of each.
    """

    def __init__(self, scenario: Scenario, mini_batches: int = 1) -> None:
        self.scenario = scenario
        batch, shape, dtype = scenario.batch, scenario.shape, scenario.dtype
        found = devices(scenario, "gpu", "the weights")[: shape.layers]
        self.gpus = [device.name for device in found]
        ranges = [range(start, stop) for start, stop in even_ranges(shape.layers, len(self.gpus))]
        self.decoders = [
            Decoder(shape, gpu, "hbm", dtype=dtype, layers=layers)
            for gpu, layers in zip(self.gpus, ranges, strict=True)
        ]
        first, last = self.gpus[0], self.gpus[-1]
        self.ids = Buffer(first, "hbm", "prompt_ids", "int64", (batch, scenario.prompt_tokens))
        self._ids_in = Buffer(first, "hbm", "last_ids", "int64", (batch,))
        self.next_ids = Buffer(last, "hbm", "next_ids", "int64", (batch,))
        self.logits = Buffer(last, "hbm", "logits", dtype, (batch, shape.vocab))
        self.row_ranges = even_ranges(batch, min(mini_batches, batch))
        self.lanes = tuple(
            Lane([(decoder.layers, decoder.decode(f"lane{index}", stop - start)) for decoder in self.decoders])
            for index, (start, stop) in enumerate(self.row_ranges)
        )
        self.pass_rows = max(1, min(batch, PREFILL_TOKENS // scenario.prompt_tokens))
        self._passes = {
            rows: Lane(
                [
                    (decoder.layers, decoder.prefill(f"prompt{rows}", rows, scenario.prompt_tokens))
                    for decoder in self.decoders
                ]
            )
            for rows in dict.fromkeys((self.pass_rows, batch % self.pass_rows))
            if rows
        }

    def gpu_of(self, layer: int) -> str:
        """The GPU that has `layer`."""
        return next(decoder.device for decoder in self.decoders if layer in decoder.layers)

    def place(self, run: Run) -> None:
        """Weights, scratch and token ids; prompt scratch comes and goes with the prefill."""
        weights = self.scenario.weights
        for decoder in self.decoders:
            for name, buffer in decoder.weights.items():
                run.place(buffer, None if weights is None else _values(self.scenario, name), written=True)
        ids = self.scenario.prompt_ids
        run.place(self.ids, None if ids is None else np.asarray(ids, np.int64), written=True)
        run.place(self.next_ids)
        run.place(self.logits)
        if len(self.gpus) > 1:
            run.place(self._ids_in)
        waiting = len(self.gpus) - len(self.lanes)
        if waiting > 0:
            run.note(
                f"{len(self.gpus)} GPUs hold a part of the layers each and take turns: {waiting} of them wait at any "
                f"time; vllm_tp splits every layer over all of them",
            )

    def prefill(self, run: Run, name: str, emit: EmitPrefill) -> Iterator[BoundPlan]:
        """Passes over the prompts, a few rows at a time, then the switch from prompt scratch to decode scratch."""
        plans = {rows: self._prefill_plan(f"{name} prefill", rows, emit) for rows in self._passes}
        for stage in self._passes.values():
            for buffer in stage.buffers:
                run.place(buffer, written=True)
        done = 0
        while done < self.scenario.batch:
            rows = min(self.pass_rows, self.scenario.batch - done)
            yield BoundPlan(plans[rows], {"row": done})
            done += rows
            run.progress(done, self.scenario.batch, "prefill")
        for stage in self._passes.values():
            for buffer in stage.buffers:
                run.release(buffer)
        for stage in self.lanes:
            for buffer in stage.buffers:
                run.place(buffer, written=True)

    def _prefill_plan(self, name: str, rows: int, emit: EmitPrefill) -> Plan:
        build, lane, row = PlanBuilder(name), self._passes[rows], symbol("row")
        lane.embed(build, rows_view(self.ids, row, rows), 0)
        emit(build, lane, row)
        self._emit_head(build, lane, row)
        return build.plan()

    def emit_embed(self, build: PlanBuilder) -> None:
        """The last tokens of every mini-batch enter the first GPU."""
        ids = self.next_ids
        if len(self.gpus) > 1:
            build.transfer(self.next_ids, self._ids_in, label="next gpu")
            ids = self._ids_in
        for lane, (start, stop) in zip(self.lanes, self.row_ranges, strict=True):
            lane.embed(build, ids.rows(start, stop), symbol("position"))

    def emit_heads(self, build: PlanBuilder) -> None:
        """Logits and next tokens of every mini-batch."""
        for lane, (start, _) in zip(self.lanes, self.row_ranges, strict=True):
            self._emit_head(build, lane, start)

    def _emit_head(self, build: PlanBuilder, lane: Lane, row: int | Affine) -> None:
        """Logits and next tokens, kept where the loop reads them."""
        logits = lane.last.head(build)
        build.kernel("copy", self.gpus[-1], [logits], [rows_view(self.logits, row, lane.rows)])
        lane.last.next_token(build, logits, rows_view(self.next_ids, row, lane.rows))


def rows_view(buffer: Buffer, row: int | Affine, rows: int) -> View:
    """Rows of the first axis from `row`, which may be open."""
    row_bytes = buffer.nbytes // buffer.shape[0]
    return View(buffer, row * row_bytes, (rows, *buffer.shape[1:]))


def _values(scenario: Scenario, name: str) -> Content:
    weights = scenario.weights
    assert weights is not None

    def make() -> Array:
        return weight_content(weights, name)

    return make
