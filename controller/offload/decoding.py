"""Decoding by one function of the author's own, which emits the layers of a pass.

def layers(s, x, tokens):
    for block in model.blocks:
        q, k, v = block.qkv(s, x, tokens.position)
        x = block.finish(s, x, cache.attend(s, block, q, k, v, tokens))
    return x

return decode(run, scenario, model, cache, layers)
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np

from controller.models.scenario import Scenario
from controller.offload.generation import BoundPlan, generate
from controller.offload.gpu_model import GpuModel
from controller.offload.kv_cache import NEW_TOKEN, KvCache, Tokens
from controller.plan.script import Script, Value
from controller.program.results import GenerationResult
from controller.program.run import GenerationProgram, Run

Layers = Callable[[Script, Value, Tokens], Value]
"""Emits all layers over a residual stream, (rows, tokens, n) of prompts or (rows, n) of new tokens, and returns it."""


class LayerByLayer:
    """Decoder whose prompts and steps are emitted by the same function."""

    def __init__(self, scenario: Scenario, model: GpuModel, cache: KvCache, layers: Layers, name: str) -> None:
        self._scenario, self._model, self._cache, self._layers, self._name = scenario, model, cache, layers, name
        self.next_ids, self.logits = model.next_ids, model.logits
        s = model.script(f"{name} step")
        (x,) = model.embed(s)
        model.finish(s, [layers(s, x, NEW_TOKEN)])
        self._step = s.plan()

    def place(self, run: Run) -> None:
        self._run = run
        self._model.place(run)
        self._cache.place(run)

    def prefill(self) -> Iterator[BoundPlan]:
        return self._model.prefill(self._run, self._name, lambda s, x, row: self._layers(s, x, Tokens(0, row)))

    def step(self, generated: int) -> BoundPlan:
        bindings = self._cache.bindings(self._scenario.prompt_tokens + generated)
        return BoundPlan(self._step, bindings, self._model.scratch)


def decode(
    run: Run, scenario: Scenario, model: GpuModel, cache: KvCache, layers: Layers, name: str = "decode"
) -> GenerationProgram:
    """Greedy decoding of the scenario: weights and token ids in `model`, keys and values in `cache`.

    Args:
        run: executes the plans.
        scenario: what is generated.
        model, cache: where things lie.
        layers: emits the layers of a pass.
        name: begins the names of the plans.
    """
    result = yield from generate(run, scenario, LayerByLayer(scenario, model, cache, layers, name))
    return (yield from _counted(run, scenario, model, result))


def _counted(run: Run, scenario: Scenario, model: GpuModel, result: GenerationResult) -> GenerationProgram:
    """The result with the choices of experts that were dropped, where they have a capacity and there are values."""
    experts, dropped = scenario.shape.experts, 0
    if experts is None or not model.dropped or not result.tokens:
        return result
    for buffer in model.dropped:
        dropped += int(np.asarray((yield run.fetch(buffer))).item())
    tokens = scenario.batch * (scenario.prompt_tokens + len(result.tokens) - 1)
    made = tokens * experts.chosen * len(model.dropped)
    run.note(f"{dropped} of {made} choices of an expert by a token were dropped ({dropped / made:.1%})")
    return replace(result, dropped_choices=dropped)
