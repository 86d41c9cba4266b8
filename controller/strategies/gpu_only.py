"""Everything in GPU memory: what offloading is compared with where it fits.

Paper: FlexGen's rows with the KV cache in GPU memory in arXiv 2409.04992, figure 4.
Follows: plain greedy decoding with a KV cache, eager kernels.
Differs: nothing is moved; the cache is allocated for the longest context.
Checked by: tests/live/test_generation.py (tokens against the plain run).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from controller.models.attention import attention_of
from controller.models.routing import Skew, declared_loads
from controller.models.scenario import Scenario
from controller.offload.generation import BoundPlan, generate
from controller.offload.gpu_model import GpuModel, rows_view
from controller.plan.ops import Buffer, Plan
from controller.plan.script import Script, Value
from controller.plan.size import Affine, symbol
from controller.program.options import Options, option
from controller.program.run import GenerationProgram, Run


@dataclass(frozen=True)
class GpuOnlyOptions(Options):
    """What a user may choose."""

    expert_skew: Skew = option(0.0, "load of the i-th expert falls as 1/i^skew on the virtual clock; 0 is balanced")


class GpuOnly:
    """Decoder whose KV cache lies in GPU memory."""

    def __init__(self, scenario: Scenario) -> None:
        self.scenario, self.shape = scenario, scenario.shape
        loads = declared_loads(scenario.shape, GpuOnlyOptions.of(scenario.options).expert_skew)
        self.model = GpuModel(scenario, loads=loads)
        self.next_ids, self.logits = self.model.next_ids, self.model.logits
        self._caches = [self._cache(layer) for layer in range(self.shape.layers)]
        self._step = self._step_plan()

    def _cache(self, layer: int) -> tuple[Buffer, Buffer]:
        scenario, device = self.scenario, self.model.place_of(layer).device
        rows, tokens, dtype = scenario.batch, scenario.max_tokens, scenario.kv_dtype
        k, v = (
            Buffer(device, "hbm", f"{part}{layer}", dtype, (rows, heads, tokens, width))
            for part, (heads, width) in zip("kv", attention_of(self.shape).cached(self.shape), strict=True)
        )
        return k, v

    def place(self, run: Run) -> None:
        self._run = run
        self.model.place(run)
        for pair in self._caches:
            for buffer in pair:
                run.place(buffer, written=True)

    def prefill(self) -> Iterator[BoundPlan]:
        return self.model.prefill(self._run, "gpu_only", self._emit_prompt)

    def step(self, generated: int) -> BoundPlan:
        position = self.scenario.prompt_tokens + generated
        context = self.scenario.effective_tokens(position + 1)
        bindings = {"position": position, "context": context}
        for layer in range(self.shape.layers):
            first = self.shape.first_attended(layer, position + 1)
            bindings[f"start{layer}"] = self.scenario.effective_start(first, position + 1)
        return BoundPlan(self._step, bindings, self.model.scratch)

    def _emit_prompt(self, s: Script, x: Value, row: Affine) -> Value:
        rows = x.shape[0]
        assert isinstance(rows, int)
        for layer in range(self.shape.layers):
            x, block = self.model.enter(s, layer, x), self.model.block(layer)
            attention, kept = block.attention.prompt(s, block, x)
            for part, cache in zip(kept, self._caches[layer], strict=True):
                s.op(
                    "kv_write", part, out=rows_view(cache, row, rows), position=0, tokens=self.scenario.prompt_tokens
                )  # fmt: skip
            x = block.finish(s, x, attention)
        return x

    def _step_plan(self) -> Plan:
        s, shape = self.model.script("gpu_only step"), self.shape
        position, context = symbol("position"), symbol("context")
        (x,) = self.model.embed(s)
        for layer in range(shape.layers):
            x, block, cache = self.model.enter(s, layer, x), self.model.block(layer), self._caches[layer]
            query, new = block.attention.new_token(s, block, x, position)
            for part, kept in zip(new, cache, strict=True):
                s.op("kv_write", part, out=kept, position=position, tokens=1)
            starts = (symbol(f"start{layer}"),) if shape.window(layer) else ()
            attention = block.attention.attend(s, block, query, cache, context, starts)
            x = block.finish(s, x, attention)
        self.model.finish(s, [x])
        return s.plan()


def gpu_only(run: Run, scenario: Scenario) -> GenerationProgram:
    """Decoding with everything in GPU memory."""
    return generate(run, scenario, GpuOnly(scenario))
