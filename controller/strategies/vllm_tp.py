"""Tensor-parallel GPUs with attention on each over its own heads: the homogeneous baseline of Lamina.

Paper: vLLM (Kwon et al., SOSP 2023) as the baseline of Lamina, arXiv 2405.01814v2, section 6.
Follows: Megatron's tensor parallelism with two sums a layer, paged attention; a fixed batch, or a stream of requests
    that keeps the KV cache full.
Differs: what a server sets aside is vLLM's own profile of an H100 (`controller.serving.saturated_stream`).
Checked by: tests/live/test_lamina.py (tokens against the plain run), tests/paper/test_lamina.py.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated

from controller.errors import BadTopology
from controller.models.scenario import Scenario
from controller.offload.fixed_batch import FixedBatch, Pools
from controller.offload.generation import generate
from controller.offload.gpu_model import devices
from controller.program.options import Parsed, option, whole_of
from controller.program.run import AnyProgram, Run
from controller.serving.saturated_stream import serve_tensor_parallel
from controller.serving.stream_options import StreamOptions, has_stream

MODEL = "model"
"""Group of a topology that the GPUs are taken from, where there is one."""


def _count_or_all(text: str) -> int | None:
    if text == "all":
        return None
    return whole_of(text, 1)


@dataclass(frozen=True)
class TensorParallelOptions(StreamOptions):
    """What a user may choose of Lamina's baseline; all GPUs are None."""

    gpus: Annotated[int | None, Parsed(_count_or_all, "a whole number of at least 1, or all")] = option(
        4, "tensor-parallel GPUs, or all"
    )


def vllm_tp(run: Run, scenario: Scenario) -> AnyProgram:
    """Decoding on tensor-parallel GPUs: a fixed batch, or with ``--requests`` a stream of requests."""
    options = TensorParallelOptions.of(scenario.options)
    scenario = replace(scenario, options=options)
    pools = Pools((gpus_of(scenario),))
    if has_stream(scenario):
        return serve_tensor_parallel(run, scenario, pools)
    return generate(run, scenario, FixedBatch(scenario, pools, prefill_elsewhere=options.prefill == "elsewhere"))


def gpus_of(scenario: Scenario) -> tuple[str, ...]:
    """The GPUs of the baseline: as many as ``--gpus`` says, or all, of the model's pool or of the whole topology.

    Raises:
        BadTopology: there are fewer.
    """
    found = [device for device in devices(scenario, "gpu", "the model") if device.group == MODEL]
    found = found or list(devices(scenario, "gpu", "the model"))
    wanted = TensorParallelOptions.of(scenario.options).gpus or len(found)
    if wanted > len(found):
        raise BadTopology(
            f"option gpus is {wanted}, and topology {scenario.topology.name!r} has {len(found)}; give it more with "
            f"--set {found[0].group}.count={wanted}"
        )
    return tuple(device.name for device in found[:wanted])
