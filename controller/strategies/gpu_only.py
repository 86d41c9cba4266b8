"""Everything in GPU memory: what offloading is compared with where it fits.

Paper: FlexGen's rows with the KV cache in GPU memory in arXiv 2409.04992, figure 4.
Follows: plain greedy decoding with a KV cache, eager kernels.
Differs: nothing is moved; the cache is allocated for the longest context.
Checked by: tests/live/test_generation.py (tokens against the plain run).
"""

from __future__ import annotations

from dataclasses import dataclass

from controller.models.routing import Skew, declared_loads
from controller.models.scenario import Scenario
from controller.offload.decoding import decode
from controller.offload.gpu_model import GpuModel
from controller.offload.kv_cache import KvCache, Tokens
from controller.plan.script import Script, Value
from controller.program.options import Options, option
from controller.program.run import GenerationProgram, Run


@dataclass(frozen=True)
class GpuOnlyOptions(Options):
    """What a user may choose."""

    expert_skew: Skew = option(0.0, "load of the i-th expert falls as 1/i^skew on the virtual clock; 0 is balanced")


def gpu_only(run: Run, scenario: Scenario) -> GenerationProgram:
    """Decoding with everything in GPU memory."""
    loads = declared_loads(scenario.shape, GpuOnlyOptions.of(scenario.options).expert_skew)
    model = GpuModel(scenario, loads=loads)
    every = range(scenario.shape.layers)
    cache = KvCache(scenario, [model.place_of(layer) for layer in every])

    def layers(s: Script, x: Value, tokens: Tokens) -> Value:
        for layer in every:
            x, block = model.enter(s, layer, x), model.block(layer)
            x = block.finish(s, x, cache.attend_beside(s, block, x, tokens))
        return x

    return decode(run, scenario, model, cache, layers, "gpu_only")
