"""Plain offloading: the KV cache in pinned host memory, the next layer on its way while one computes.

Paper: none; what host memory gives when nothing but the hardware is in the way.
Follows: attention on the GPU; copies by DMA. Several GPUs share the layers.
Checked by: tests/live/test_generation.py (tokens against the plain run).
"""

from __future__ import annotations

from controller.models.scenario import Scenario
from controller.offload.generation import generate
from controller.offload.gpu_model import devices
from controller.offload.kv_streaming import KvPath, KvStreaming
from controller.plan.value import Place
from controller.program.run import GenerationProgram, Run


def dram_kv(run: Run, scenario: Scenario) -> GenerationProgram:
    """Decoding with the KV cache in pinned host memory."""
    host = Place(devices(scenario, "cpu", "the KV cache")[0].name, "dram")
    return generate(run, scenario, KvStreaming(scenario, KvPath((host,))))
