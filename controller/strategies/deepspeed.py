"""DeepSpeed inference: the KV cache in host memory, copied through pageable memory when a layer needs it.

Paper: ZeRO-Inference, arXiv 2206.01861, as a baseline of InstInfer, arXiv 2409.04992, section VI.
Follows: attention on the GPU, nothing fetched ahead. Several GPUs share the layers.
Differs: a pageable copy waits for the stream and lets nothing overtake it, as cudaMemcpy does. Main memory is not
    overcommitted: whether the kernel has swapped the cache out is said with --option cache=swap, as InstInfer says it
    of its batch of 32 (figure 4); it then comes back by page faults (`controller.offload.swapped_pages`).
Checked by: tests/live/test_generation.py (tokens against the plain run), tests/paper/test_instinfer.py.
"""

from __future__ import annotations

from dataclasses import dataclass

from controller.models.scenario import Scenario
from controller.offload.generation import generate
from controller.offload.gpu_model import devices
from controller.offload.kv_streaming import KvPath, KvStreaming
from controller.offload.swapped_pages import swap_in_bytes_per_s
from controller.plan.value import Place
from controller.program.options import Choice, Options, option
from controller.program.run import GenerationProgram, Run


@dataclass(frozen=True)
class DeepSpeedOptions(Options):
    """What a user may choose."""

    cache: Choice = option("dram", "where the cache lies: in main memory, or swapped out", choices=("dram", "swap"))


def deepspeed(run: Run, scenario: Scenario) -> GenerationProgram:
    """Decoding with the KV cache in host memory, by pageable copies."""
    host = Place(devices(scenario, "cpu", "the KV cache")[0].name, "dram")
    path = KvPath((host,), copy="pageable", ahead=0)
    if DeepSpeedOptions.of(scenario.options).cache == "swap":
        drive = Place(devices(scenario, "csd", "what is swapped out")[0].name, "flash")
        rate = swap_in_bytes_per_s(scenario.topology, drive)
        path = KvPath((drive,), host, copy="pageable", read_bytes_per_s=rate, ahead=0)
    return generate(run, scenario, KvStreaming(scenario, path))
