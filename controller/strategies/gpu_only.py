"""Everything in GPU memory: what offloading is compared with where it fits.

Paper: FlexGen's rows with the KV cache in GPU memory in arXiv 2409.04992, figure 4.
Follows: plain greedy decoding with a KV cache, eager kernels.
Differs: nothing is moved; the cache is allocated for the longest context.
Checked by: tests/live/test_generation.py (tokens against the plain run).
"""

from __future__ import annotations

from collections.abc import Iterator

from controller.models.scenario import Scenario
from controller.offload.generation import BoundPlan, generate
from controller.offload.gpu_model import GpuModel, rows_view
from controller.plan.ops import Buffer, Plan
from controller.plan.script import Script, Value
from controller.plan.size import Affine, symbol
from controller.program.run import GenerationProgram, Run


class GpuOnly:
    """Decoder whose KV cache lies in GPU memory."""

    def __init__(self, scenario: Scenario) -> None:
        self.scenario, self.shape, self.model = scenario, scenario.shape, GpuModel(scenario)
        self.next_ids, self.logits = self.model.next_ids, self.model.logits
        extents = (scenario.batch, self.shape.kv_heads, scenario.max_tokens, self.shape.head_dim)
        self._caches = [
            tuple(
                Buffer(self.model.place_of(layer).device, "hbm", f"{part}{layer}", scenario.dtype, extents)
                for part in "kv"
            )
            for layer in range(self.shape.layers)
        ]
        self._step = self._step_plan()

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
            bindings[f"start{layer}"] = min(self.shape.first_attended(layer, position + 1), context)
        return BoundPlan(self._step, bindings, self.model.scratch)

    def _emit_prompt(self, s: Script, x: Value, row: Affine) -> Value:
        rows = x.shape[0]
        assert isinstance(rows, int)
        for layer in range(self.shape.layers):
            x, block = self.model.enter(s, layer, x), self.model.block(layer)
            q, *kv = [block.to_heads(s, part) for part in block.qkv(s, x)]
            attention = block.prefill_attention(s, q, *kv)
            for part, cache in zip(kv, self._caches[layer], strict=True):
                s.op(
                    "kv_write", part, out=rows_view(cache, row, rows), position=0, tokens=self.scenario.prompt_tokens
                )  # fmt: skip
            x = block.finish(s, x, attention)
        return x

    def _step_plan(self) -> Plan:
        s, shape, rows = self.model.script("gpu_only step"), self.shape, self.scenario.batch
        position, context = symbol("position"), symbol("context")
        (x,) = self.model.embed(s)
        for layer in range(shape.layers):
            x, block, cache = self.model.enter(s, layer, x), self.model.block(layer), self._caches[layer]
            q, *new = block.qkv(s, x, position)
            for part, kept in zip(new, cache, strict=True):
                one = part.reshape(rows, shape.kv_heads, 1, shape.head_dim)
                s.op("kv_write", one, out=kept, position=position, tokens=1)
            starts = (symbol(f"start{layer}"),) if shape.window(layer) else ()
            attention, _ = block.decode_attention(s, q, [(cache[0], cache[1])], (context,), starts)
            x = block.finish(s, x, attention)
        self.model.finish(s, [x])
        return s.plan()


def gpu_only(run: Run, scenario: Scenario) -> GenerationProgram:
    """Decoding with everything in GPU memory."""
    return generate(run, scenario, GpuOnly(scenario))
