"""Everything in GPU memory: what offloading is compared with where it fits.

Paper: FlexGen's rows with the KV cache in GPU memory in arXiv 2409.04992, figure 4.
Follows: plain greedy decoding with a KV cache, eager kernels.
Differs: nothing is moved; the cache is allocated for the longest context.
Checked by: tests/live/test_generation.py (tokens against the plain run).
"""

from __future__ import annotations

from collections.abc import Iterator

from controller.plan.build import PlanBuilder
from controller.plan.ops import Buffer, Plan
from controller.plan.size import Affine, symbol
from controller.program.run import Program, Run
from controller.strategies.generation import BoundPlan, generate
from controller.strategies.lane import Lane
from controller.strategies.placement import GpuModel, rows_view
from controller.strategies.scenario import Scenario


class GpuOnly:
    """Decoder whose KV cache lies in GPU memory."""

    def __init__(self, scenario: Scenario) -> None:
        self.scenario, self.model = scenario, GpuModel(scenario)
        self.next_ids, self.logits = self.model.next_ids, self.model.logits
        shape = scenario.shape
        cache = (scenario.batch, shape.kv_heads, scenario.max_tokens, shape.head_dim)
        self._caches = [
            (
                Buffer(self.model.gpu_of(layer), "hbm", f"k{layer}", scenario.dtype, cache),
                Buffer(self.model.gpu_of(layer), "hbm", f"v{layer}", scenario.dtype, cache),
            )
            for layer in range(shape.layers)
        ]
        prompt = (self.model.pass_rows, shape.kv_heads, scenario.prompt_tokens, shape.head_dim)
        self._prompt = {
            gpu: tuple(Buffer(gpu, "hbm", f"prompt_{part}", scenario.dtype, prompt) for part in "kv")
            for gpu in self.model.gpus
        }
        self._step = self._step_plan()

    def place(self, run: Run) -> None:
        """See `OffloadedDecoder.place`."""
        self.model.place(run)
        for pair in (*self._prompt.values(), *self._caches):
            for buffer in pair:
                run.place(buffer, written=True)
        self._run = run

    def prefill(self) -> Iterator[BoundPlan]:
        """See `OffloadedDecoder.prefill`."""
        return self.model.prefill(self._run, "gpu_only", self._emit_prompt)

    def step(self, generated: int) -> BoundPlan:
        """See `OffloadedDecoder.step`."""
        position = self.scenario.prompt_tokens + generated
        context = self.scenario.effective_tokens(position + 1)
        bindings = {"position": position, "context": context}
        for layer in range(self.scenario.shape.layers):
            bindings[f"start{layer}"] = min(self.scenario.shape.first_attended(layer, position + 1), context)
        return BoundPlan(self._step, bindings)

    def _emit_prompt(self, build: PlanBuilder, lane: Lane, row: int | Affine) -> None:
        for layer in range(self.scenario.shape.layers):
            gpu, stage = self.model.gpu_of(layer), lane.at(layer)
            q, k, v = lane.attention_inputs(build, layer)
            heads = [rows_view(buffer, 0, lane.rows) for buffer in self._prompt[gpu]]
            attn, *by_heads = stage.prefill_attention(build, layer, q, k, v, *heads)
            for part, cache in zip(by_heads, self._caches[layer], strict=True):
                build.kernel(
                    "kv_write", gpu, [part], [rows_view(cache, row, lane.rows)],
                    position=0, tokens=self.scenario.prompt_tokens,
                )  # fmt: skip
            lane.finish_layer(build, layer, attn)

    def _step_plan(self) -> Plan:
        build, lane, shape = PlanBuilder("gpu_only step"), self.model.lanes[0], self.scenario.shape
        position, context = symbol("position"), symbol("context")
        self.model.emit_embed(build)
        for layer in range(shape.layers):
            q, k, v = lane.attention_inputs(build, layer, position)
            cache = self._caches[layer]
            for part, kept in zip((k, v), cache, strict=True):
                new = part.reshape(lane.rows, shape.kv_heads, 1, shape.head_dim)
                build.kernel("kv_write", self.model.gpu_of(layer), [new], [kept], position=position, tokens=1)
            starts = (symbol(f"start{layer}"),) if shape.window(layer) else ()
            attn = lane.at(layer).decode_attention(build, q, [cache], (context,), starts)
            lane.finish_layer(build, layer, attn)
        self.model.emit_heads(build)
        return build.plan()


def gpu_only(run: Run, scenario: Scenario) -> Program:
    """Decoding with everything in GPU memory."""
    return generate(run, scenario, GpuOnly(scenario))
