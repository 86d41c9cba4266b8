"""FlexGen: the KV cache on an SSD, through host memory, the next layer on its way while one computes.

Paper: FlexGen, arXiv 2303.06865, as the baseline of InstInfer, arXiv 2409.04992, section VI.
Follows: attention on the GPU; the cache on an SSD, moved through host memory. Several GPUs share the layers. With
    --option cache=dram it stays in main memory, which the authors do not pin for a cache ("due to high memory
    overhead", flexgen/pytorch_backend.py): each layer's is copied into pinned memory by the CPU and from there to the
    GPU, and a layer ends with a synchronisation, so that the next one's copies begin only then.
Differs: the disk path runs at the rates that an independent study measured (``options`` of the topology), one transfer
    at a time, since the study's reads and its small appends share one path; prompts are written in long sequential
    pieces at the drive's own rate. During the prefill the keys and values of the whole prompt stay in host memory
    before they go to the SSD: InstInfer names such a whole-model buffer as what bounds the batch of its baselines (they
    run out at batch 128, where it would need 107 GB of 96).
    Several GPUs take turns over one batch and one disk path. The authors' code runs as many batches as there are GPUs,
    one behind the other, and each process has a disk path of its own (flexgen/dist_flex_opt.py, num_inner_iterations),
    which is up to twice as fast on two: the published ratio of OPT-30B, 4.09 where ours is 6.93, says as much.
    The reading of the measured path decides the FlexGen rows, and the study does not settle it: it may have reported
    what a decode asked for, not what the path can do. With appends beside reads, dense over FlexGen at batch 64 is 5.04
    (-26 % of the published 6.85) instead of 7.07 (+3 %); with prompts at the append rate too it is 9.14 (+33 %).
Checked by: tests/live/test_generation.py (tokens against the plain run), tests/paper/test_instinfer.py.
"""

from __future__ import annotations

from dataclasses import dataclass

from controller.models.scenario import Scenario
from controller.offload.generation import generate
from controller.offload.gpu_model import devices
from controller.offload.kv_streaming import KvPath, KvStreaming
from controller.offload.software_path import software_rate
from controller.plan.value import Place
from controller.program.options import Choice, Options, option
from controller.program.run import GenerationProgram, Run


@dataclass(frozen=True)
class FlexGenOptions(Options):
    """What a user may choose."""

    cache: Choice = option("drive", "where the cache lies", choices=("drive", "dram"))


def flexgen(run: Run, scenario: Scenario) -> GenerationProgram:
    """Decoding with the KV cache on an SSD, through host memory."""
    host = Place(devices(scenario, "cpu", "what passes between SSD and GPU")[0].name, "dram")
    if FlexGenOptions.of(scenario.options).cache == "dram":
        return generate(run, scenario, KvStreaming(scenario, KvPath((host,), host, in_step=True)))
    drive = Place(devices(scenario, "csd", "the KV cache")[0].name, "flash")
    read, append = (software_rate(scenario.topology, f"flexgen.{what}") for what in ("read", "append"))
    path = KvPath((drive,), host, read_bytes_per_s=read, append_bytes_per_s=append)
    return generate(run, scenario, KvStreaming(scenario, path))
