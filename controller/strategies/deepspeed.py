"""DeepSpeed inference: the KV cache in host memory, copied through pageable memory when a layer needs it.

Paper: ZeRO-Inference, arXiv 2206.01861, as a baseline of InstInfer, arXiv 2409.04992, section VI.
Follows: attention on the GPU, nothing fetched ahead. Several GPUs share the layers.
Differs: a pageable copy waits for the stream and lets nothing overtake it, as cudaMemcpy does. Its swapping is not
    modelled.
Checked by: tests/live/test_generation.py (tokens against the plain run), tests/paper/test_instinfer.py.
"""

from __future__ import annotations

from controller.models.scenario import Scenario
from controller.offload.generation import generate
from controller.offload.gpu_model import devices
from controller.offload.kv_streaming import KvPath, KvStreaming
from controller.plan.value import Place
from controller.program.run import GenerationProgram, Run


def deepspeed(run: Run, scenario: Scenario) -> GenerationProgram:
    """Decoding with the KV cache in host memory, by pageable copies."""
    host = Place(devices(scenario, "cpu", "the KV cache")[0].name, "dram")
    return generate(run, scenario, KvStreaming(scenario, KvPath((host,), copy="pageable", ahead=0)))
