"""KV cache in GPU memory alone: what does not fit waits, and what must leave is recomputed.

Paper: vLLM (Kwon et al., SOSP 2023), as the recomputing baseline of InstAttention, HPCA 2025, section VI.
Follows: section 4.5: requests of a batch enter while their blocks of 16 tokens fit, all that run decode together, the
    latest leaves when blocks run out, and a pass over its prompt and its tokens so far brings it back. The cache takes
    what weights and scratch leave of a share of the memory (gpu_memory_utilization, 0.9 unless told otherwise).
Differs: the blocks of a request lie one after the other, which changes no byte that a kernel reads, and the pool is no
    larger than the batch can fill. Iterations of nearly equal rows and mean length are taken as equal, to `GRAIN` steps
    an octave: each such composition is executed once and repeated as often as it occurs, passes first, so that a trace
    shows each once and not in its turn. Passes and kernels are those of the other baselines here (eager, 8,192 prompt
    tokens a pass); the host's own work between iterations is left out, as it is for them. What vLLM takes outside of
    PyTorch is its own profile of an H100, and scratch is reserved as an eager framework keeps it. Values would need
    every step: virtual runs only.
Checked by: tests/unit/controller/strategies/vllm (courses by hand, times against gpu_only),
    tests/paper/test_instinfer.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from controller.errors import BadWorkload
from controller.models.ends import embed, logits
from controller.models.scenario import Scenario
from controller.offload.gpu_model import PREFILL_TOKENS, GpuModel, rows_view
from controller.plan.ops import Buffer, Plan, View
from controller.plan.script import Script, Source, Value
from controller.plan.size import Size, symbol
from controller.program.options import Options, Share, option
from controller.program.results import GenerationResult
from controller.program.run import GenerationProgram, Run
from controller.program.waits import Completion
from controller.serving.paged_pool import count_blocks
from controller.serving.recompute_course import recompute_course
from controller.serving.saturated_stream import OUTSIDE_ALONE_BYTES, OUTSIDE_BYTES
from controller.serving.stream_options import UTILISATION
from controller.topology.schema import Topology
from controller.workload.saturated import BLOCK_TOKENS, Composition, Course, compositions

GRAIN: Final = 32
"""Steps an octave to which rows and mean lengths are rounded."""


@dataclass(frozen=True)
class VllmRecomputeOptions(Options):
    """What a user may choose."""

    utilisation: Share = option(UTILISATION, "share of a device's memory that the server takes")


class PagedServer:
    """Decoder whose KV cache is a pool of blocks in GPU memory.

    Attributes:
        model: the weights.
        blocks: of the pool.
        pass_tokens: of the largest pass over prompts.
    """

    def __init__(self, scenario: Scenario, topology: Topology) -> None:
        """Sizes the pool for `topology`, which is that of the scenario except where a larger one is tried."""
        self.scenario, self.model = scenario, GpuModel(scenario)
        shape, dtype = scenario.shape, scenario.kv_dtype
        # What a request that was preempted last of all would bring back.
        self.pass_tokens = max(PREFILL_TOKENS, scenario.max_tokens - 1)
        first = self.model.gpus[0]
        self._pass_ids = Buffer(first, "hbm", "pass_ids", "int64", (self.pass_tokens,))
        self._step_ids = Buffer(first, "hbm", "step_ids", "int64", (scenario.batch,))
        outside = OUTSIDE_BYTES if len(self.model.gpus) > 1 else OUTSIDE_ALONE_BYTES
        self._outside = [Buffer(gpu, "hbm", "outside_pytorch", "uint8", (outside,)) for gpu in self.model.gpus]
        share = VllmRecomputeOptions.of(scenario.options).utilisation
        kept = self._pass_ids, self._step_ids, *self._outside
        self.blocks = count_blocks(scenario, self.model, topology, share, self.pass_tokens, kept)
        pool = (self.blocks * BLOCK_TOKENS, shape.kv_heads, shape.head_dim)
        self._pools = [
            [Buffer(self.model.place_of(layer).device, "hbm", f"pool_{part}{layer}", dtype, pool) for part in "kv"]
            for layer in range(shape.layers)
        ]
        self._steps: dict[int, Plan] = {}

    def place(self, run: Run) -> None:
        """Weights, token ids, what lies outside of PyTorch and the pool; scratch comes and goes with the iterations."""
        self.model.place(run)
        pools = (buffer for pair in self._pools for buffer in pair)
        for buffer in (*self._outside, self._pass_ids, self._step_ids, *pools):
            run.place(buffer, written=True)

    def prompt_pass(self, group: Composition) -> tuple[Plan, dict[str, int]]:
        """A pass over `rows` requests of `context` tokens each, and its open sizes."""
        rows, tokens = min(group.rows, self.scenario.batch), min(group.context, self.scenario.max_tokens - 1)
        s = self.model.script("vllm pass")
        x = embed(s, self.scenario.shape, self.model.first_weights, View(self._pass_ids, 0, (rows, tokens)))
        for layer in range(self.scenario.shape.layers):
            x, block = self.model.enter(s, layer, x), self.model.block(layer)
            q, *kv = [block.to_heads(s, part) for part in block.qkv(s, x)]
            attention = block.prefill_attention(s, q, *kv)
            self._keep(s, layer, kv, rows, tokens, 0, tokens)
            x = block.finish(s, x, attention)
        self._end(s, x, rows)
        return s.plan(), {}

    def decode_step(self, group: Composition) -> tuple[Plan, dict[str, int]]:
        """A new token of `rows` requests that hold `context` tokens each with it, and its open sizes."""
        rows, shape = min(group.rows, self.scenario.batch), self.scenario.shape
        if rows not in self._steps:
            self._steps[rows] = self._step_plan(rows)
        reads = self.scenario.effective_tokens(group.context)
        bindings = {"position": group.context - 1, "context": group.context, "attended": reads}
        for layer in range(shape.layers):
            if shape.window(layer):
                first = shape.first_attended(layer, group.context)
                bindings[f"start{layer}"] = self.scenario.effective_start(first, group.context)
        return self._steps[rows], bindings

    def _step_plan(self, rows: int) -> Plan:
        shape, s = self.scenario.shape, self.model.script("vllm step")
        position, context, attended = symbol("position"), symbol("context"), symbol("attended")
        ids = rows_view(self.model.next_ids, 0, rows)
        if len(self.model.gpus) > 1:
            here = rows_view(self._step_ids, 0, rows)
            s.move(ids, here, "next gpu", connection="pipeline")
            ids = here
        x = embed(s, shape, self.model.first_weights, ids, position)
        for layer in range(shape.layers):
            x, block = self.model.enter(s, layer, x), self.model.block(layer)
            q, *new = block.qkv(s, x, position)
            one = [part.reshape(rows, shape.kv_heads, 1, shape.head_dim) for part in new]
            keys, values = self._keep(s, layer, one, rows, context, position, 1)
            starts = (symbol(f"start{layer}"),) if shape.window(layer) else ()
            attention, _ = block.decode_attention(s, q, [(keys, values)], (attended,), starts)
            x = block.finish(s, x, attention)
        self._end(s, x, rows)
        return s.plan()

    def _keep(
        self, s: Script, layer: int, new: Sequence[Source], rows: int, held: Size, position: Size, tokens: int
    ) -> list[View]:
        """Writes keys and values to the pool; gives the blocks of the requests, `held` tokens each."""
        shape = self.scenario.shape
        kept = [View(pool, 0, (rows, shape.kv_heads, held, shape.head_dim)) for pool in self._pools[layer]]
        for part, view in zip(new, kept, strict=True):
            s.op("kv_write", part, out=view, position=position, tokens=tokens)
        return kept

    def _end(self, s: Script, x: Value, rows: int) -> None:
        made = logits(s, self.scenario.shape, self.model.last_weights, x)
        s.op("copy", made, out=rows_view(self.model.logits, 0, rows))
        s.op("argmax", made, out=rows_view(self.model.next_ids, 0, rows))


def vllm_recompute(run: Run, scenario: Scenario) -> GenerationProgram:
    """The batch with its KV cache in GPU memory, recomputed where it does not fit."""
    if scenario.weights is not None:
        raise BadWorkload(
            "vllm_recompute runs virtually only: it executes each composition of a batch once and counts it as often "
            "as it occurs, which no token can come from; remove --live, or run gpu_only live"
        )
    server = PagedServer(scenario, run.topology)
    course = recompute_course(
        scenario.batch, scenario.prompt_tokens, scenario.output_tokens, server.blocks, PREFILL_TOKENS
    )
    server.place(run)
    executed = 0
    for phase, iterations, most, plan_of in (
        ("prefill", course.passes, server.pass_tokens, server.prompt_pass),
        ("decode", course.steps, server.blocks * BLOCK_TOKENS, server.decode_step),
    ):
        groups, index = compositions(iterations, GRAIN, most)
        counts = np.bincount(index, minlength=len(groups)).tolist()
        for number, (group, count) in enumerate(zip(groups, counts, strict=True)):
            plan, bindings = plan_of(group)
            server.model.scratch.place(run)
            done: Completion = yield run.submit(plan, **bindings)
            if count > 1:
                yield run.repeat(done, count - 1)
            run.progress(number + 1, len(groups), phase)
        run.mark(phase)
        executed += len(groups)
    run.figure("plans_executed", executed)
    run.figure("kv_capacity_tokens", server.blocks * BLOCK_TOKENS)
    run.figure("preemptions", course.preempted)
    run.figure("recomputed_tokens", course.recomputed_tokens)
    run.figure("iterations", len(course.passes.rows) + len(course.steps.rows))
    run.figure("mean_batch", _mean_rows(course.steps))
    return GenerationResult(scenario.batch * scenario.output_tokens)


def _mean_rows(steps: Course) -> float:
    return float(steps.rows.mean()) if len(steps.rows) else 0.0
