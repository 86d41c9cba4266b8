"""A model on the GPUs of a topology, its layers spread over them in order: weights, token ids, prompts, logits.

The residual stream moves to the next GPU where a range of layers begins; token ids start at the first GPU and logits
come out of the last. A script decides what happens between::

    s = model.script("step")
    x = model.embed(s)                                       # one residual stream a micro-batch
    for layer in range(shape.layers):
        x[0] = model.enter(s, layer, x[0])
        q, k, v = model.block(layer).qkv(s, x[0], symbol("position"))
        ...
    model.finish(s, x)
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from controller.errors import BadTopology, BadWorkload
from controller.models.block import Block
from controller.models.decoder import Decoder
from controller.models.ends import embed, logits
from controller.models.routing import routing_note
from controller.models.scenario import Scenario
from controller.models.weights import weight_content
from controller.offload.generation import BoundPlan
from controller.offload.scratch import Scratch
from controller.plan.ops import Buffer, Plan, View
from controller.plan.ranges import even_ranges
from controller.plan.script import Script, Value
from controller.plan.size import Affine, symbol
from controller.plan.value import Place
from controller.program.run import Array, Content, Run
from controller.topology.schema import Device

PREFILL_TOKENS = 8192
"""Prompt tokens that a GPU takes in one pass; frameworks bound it so that activations stay small beside weights."""

EmitPrefill = Callable[[Script, Value, Affine], Value]
"""Emits the layers of a prompt pass over a residual stream (rows, tokens, n), given its first row, and returns it."""


def devices(scenario: Scenario, kind: str, what: str, *, computes: bool = False) -> tuple[Device, ...]:
    """The devices of one kind in the topology, only those that run kernels when `computes` is set.

    Raises:
        BadTopology: the topology has no such device.
    """
    found = scenario.topology.of_kind(kind)
    if computes:
        found = tuple(device for device in found if device.spec.compute_queue is not None)
    if not found:
        wanted = f"{kind} that computes" if computes else kind
        raise BadTopology(
            f"topology {scenario.topology.name!r} has no {wanted} to hold {what}; choose another --topology"
        )
    return found


class GpuModel:
    """Weights and token ids of a model on GPUs.

    Attributes:
        gpus: names of the devices.
        ids: prompt (batch, prompt_tokens) on the first GPU; next_ids: last tokens (batch) on the last one.
        logits: of the last step (batch, vocab), on the last GPU.
        row_ranges: first row and end of each micro-batch.
        scratch: arenas of decode steps.
        loads: declared share of each expert; empty for even ones.

    With `layers_in`, the weights of the layers are in that tier instead, and `fetched_blocks` brings them.
    """

    def __init__(
        self,
        scenario: Scenario,
        microbatches: int = 1,
        loads: tuple[int, ...] = (),
        *,
        layers_in: Place | None = None,
    ) -> None:
        """Allocates nothing.

        Args:
            scenario: the workload.
            microbatches: parts of the batch.
            loads: declared share of each expert; empty for even ones.
            layers_in: where the weights of the layers are; None for the GPUs.

        Raises:
            BadTopology: no GPU.
            BadWorkload: more micro-batches than sequences.
        """
        self.scenario, self.shape, self.loads = scenario, scenario.shape, loads
        batch, shape, dtype = scenario.batch, scenario.shape, scenario.dtype
        self.gpus = [device.name for device in devices(scenario, "gpu", "the weights")[: shape.layers]]
        self._decoders = [
            Decoder(shape, gpu, "hbm", dtype=dtype, layers=range(start, stop), loads=loads, layers_in=layers_in)
            for gpu, (start, stop) in zip(self.gpus, even_ranges(shape.layers, len(self.gpus)), strict=True)
        ]
        self._of_layer = [decoder for decoder in self._decoders for _ in decoder.layers]
        first, last = self.gpus[0], self.gpus[-1]
        self.ids = Buffer(first, "hbm", "prompt_ids", "int64", (batch, scenario.prompt_tokens))
        self._ids_in = Buffer(first, "hbm", "last_ids", "int64", (batch,))
        self.next_ids = Buffer(last, "hbm", "next_ids", "int64", (batch,))
        self.logits = Buffer(last, "hbm", "logits", dtype, (batch, shape.vocab))
        if microbatches > batch:
            raise BadWorkload(
                f"a batch of {batch} in {microbatches} micro-batches: each needs a sequence of its own; write "
                f"--mini-batches {batch} or fewer, or raise --batch"
            )
        self.row_ranges = even_ranges(batch, microbatches)
        self.pass_rows = prompt_rows(scenario)
        self.scratch, self._prompt_scratch = Scratch("scratch"), Scratch("prompt")

    def place_of(self, layer: int) -> Place:
        """Where `layer` runs."""
        return Place(self._of_layer[layer].device, "hbm")

    def block(self, layer: int) -> Block:
        """The block of `layer`."""
        return self._of_layer[layer].block(layer)

    @property
    def blocks(self) -> list[Block]:
        """All blocks, in order."""
        return [self.block(layer) for layer in range(self.shape.layers)]

    @property
    def dropped(self) -> list[Buffer]:
        """Counts of choices of experts that found no room, of every layer whose experts have a capacity."""
        return [buffer for decoder in self._decoders for buffer in decoder.dropped.values()]

    @property
    def first_weights(self) -> dict[str, Buffer]:
        """Weights on the first GPU, the embedding among them."""
        return self._decoders[0].weights

    @property
    def last_weights(self) -> dict[str, Buffer]:
        """Weights on the last GPU, final norm and head among them."""
        return self._decoders[-1].weights

    def spread(self) -> list[tuple[str, int, int]]:
        """Every GPU with the number of its layers and the size of its weights [bytes]."""
        return [(decoder.device, len(decoder.layers), decoder.weight_bytes) for decoder in self._decoders]

    def script(self, name: str) -> Script:
        """A script for a decode step."""
        return Script(name, self.scratch)

    def place(self, run: Run) -> None:
        """Weights and token ids."""
        weights = self.scenario.weights
        for decoder in self._decoders:
            for buffer in decoder.dropped.values():
                run.place(buffer, np.zeros(1, np.int64), written=True)
            for name, buffer in decoder.weights.items():
                run.place(buffer, None if weights is None else _values(self.scenario, name), written=True)
        ids = self.scenario.prompt_ids
        run.place(self.ids, None if ids is None else np.asarray(ids, np.int64), written=True)
        run.place(self.next_ids)
        run.place(self.logits)
        if len(self.gpus) > 1:
            run.place(self._ids_in)
        if routing := routing_note(self.shape, self.loads):
            run.note(routing)
        waiting = len(self.gpus) - len(self.row_ranges)
        if waiting > 0:
            run.note(
                f"{len(self.gpus)} GPUs hold a part of the layers each and take turns: {waiting} of them wait at any "
                f"time; vllm_tp splits every layer over all of them",
            )

    def prefill(self, run: Run, name: str, emit: EmitPrefill) -> Iterator[BoundPlan]:
        """Passes over the prompts, a few rows at a time; prompt scratch comes and goes with them."""
        batch = self.scenario.batch
        sizes = [rows for rows in dict.fromkeys((self.pass_rows, batch % self.pass_rows)) if rows]
        plans = {rows: self._prefill_plan(f"{name} prefill", rows, emit) for rows in sizes}
        self._prompt_scratch.place(run)
        done = 0
        while done < batch:
            rows = min(self.pass_rows, batch - done)
            yield BoundPlan(plans[rows], {"row": done})
            done += rows
            run.progress(done, batch, "prefill")
        self._prompt_scratch.release(run)

    def _prefill_plan(self, name: str, rows: int, emit: EmitPrefill) -> Plan:
        s, row = Script(name, self._prompt_scratch), symbol("row")
        x = embed(s, self.shape, self.first_weights, rows_view(self.ids, row, rows))
        self._finish(s, emit(s, x, row), row)
        return s.plan()

    def leaving_prompt(self, s: Script, x: Value, leave: Callable[[int, list[Value]], None]) -> Value:
        """The layers of a prompt pass whose keys and values leave while the next layer computes.

        Args:
            s: takes the ops.
            x: residual stream (rows, tokens, n).
            leave: gets the number of each layer and its keys and values by heads (rows, g, tokens, d).
        """
        for layer in range(self.shape.layers):
            x, block = self.enter(s, layer, x), self.block(layer)
            q, *kv = block.qkv(s, x)
            query = block.to_heads(s, q)
            with s.staging("out", layer):
                by_heads = [block.to_heads(s, part) for part in kv]
                out = [block.cached(s, part) for part in by_heads]
            attention = block.prefill_attention(s, query, *by_heads)
            leave(layer, out)
            x = block.finish(s, x, attention)
        return x

    def enter(self, s: Script, layer: int, x: Value) -> Value:
        """The residual stream where `layer` runs."""
        here = self.place_of(layer)
        return x if x.place == here else s.move(x, here, "next gpu", connection="pipeline")

    def embed(self, s: Script) -> list[Value]:
        """The last tokens enter the first GPU: the residual stream (rows, n) of every micro-batch."""
        ids = self.next_ids
        if len(self.gpus) > 1:
            s.move(self.next_ids, self._ids_in, "next gpu", connection="pipeline")
            ids = self._ids_in
        streams = []
        for s.microbatch, (start, stop) in enumerate(self.row_ranges):
            streams.append(embed(s, self.shape, self.first_weights, ids.rows(start, stop), symbol("position")))
        return streams

    def finish(self, s: Script, streams: list[Value]) -> None:
        """Logits and next tokens of every micro-batch."""
        for s.microbatch, (x, (start, _)) in enumerate(zip(streams, self.row_ranges, strict=True)):
            self._finish(s, x, start)

    def _finish(self, s: Script, x: Value, row: int | Affine) -> None:
        """Logits and next tokens, kept where the loop reads them."""
        rows = x.shape[0]
        assert isinstance(rows, int), "rows are never open here"
        made = logits(s, self.shape, self.last_weights, x)
        s.op("copy", made, out=rows_view(self.logits, row, rows))
        s.op("argmax", made, out=rows_view(self.next_ids, row, rows))


def prompt_rows(scenario: Scenario) -> int:
    """Rows of the batch whose prompts a pass takes."""
    return max(1, min(scenario.batch, PREFILL_TOKENS // scenario.prompt_tokens))


def rows_view(buffer: Buffer, row: int | Affine, rows: int) -> View:
    """Rows of the first axis from `row`, which may be open."""
    return View(buffer, row * (buffer.nbytes // buffer.shape[0]), (rows, *buffer.shape[1:]))


def _values(scenario: Scenario, name: str) -> Content:
    weights = scenario.weights
    assert weights is not None

    def make() -> Array:
        return weight_content(weights, name)

    return make
