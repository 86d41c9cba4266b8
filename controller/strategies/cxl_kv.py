"""The KV cache on CXL memory cards, layers distributed over them, fetched by the GPU directly.

Paper: none; what CXL cards give when nothing but the hardware is in the way.
Follows: attention on the GPU; the next layer on its way while one computes. Several GPUs share the layers.
Checked by: tests/live/test_generation.py (tokens against the plain run).
"""

from __future__ import annotations

from controller.models.scenario import Scenario
from controller.offload.generation import generate
from controller.offload.gpu_model import devices
from controller.offload.kv_streaming import KvPath, KvStreaming
from controller.plan.value import Place
from controller.program.run import GenerationProgram, Run


def cxl_kv(run: Run, scenario: Scenario) -> GenerationProgram:
    """Decoding with the KV cache on CXL memory cards."""
    cards = tuple(Place(card.name, "cxl") for card in devices(scenario, "cxl", "the KV cache"))
    return generate(run, scenario, KvStreaming(scenario, KvPath(cards)))
