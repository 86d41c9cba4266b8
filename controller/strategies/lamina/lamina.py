"""Lamina: the model on compute devices, KV cache and decode attention on memory devices, batches staggered in rotation.

Paper: "Efficient Heterogeneous Large Language Model Decoding with Model-Attention Disaggregation", arXiv 2405.01814v2.
Follows: section 3.1 (two pools, DOP (a, b)), 4.1 (the network stack's constants), 4.2 (q is sent first; attention over
    the tokens so far runs while k and v are made, and the new token is merged by the sums of exponentials), 4.3
    (rotational staggered pipelining over n - 1 replicas), 5 (attention spread over memory devices by heads).
Differs: the a devices of a replica are tensor-parallel. The cut of the model graph is fixed (the residual stream is
    what is saved; it is the minimum for these models). Prompts of a fixed batch run on the model's devices; with a
    stream of requests they come for free, as in the paper's evaluation. All batches begin a token together.
Checked by: tests/live/test_lamina.py (tokens against the plain run), tests/paper/test_lamina.py.
"""

from __future__ import annotations

from dataclasses import replace

from controller.models.scenario import Scenario
from controller.offload.generation import generate
from controller.program.run import AnyProgram, GenerationProgram, Run
from controller.strategies.lamina.fixed import FixedBatch
from controller.strategies.lamina.options import (
    LaminaOptions,
    Pools,
    TensorParallelOptions,
    gpus_of,
    has_stream,
    pools_of,
)
from controller.strategies.lamina.probe import probe_network
from controller.strategies.lamina.stream import serve_lamina, serve_tensor_parallel


def lamina(run: Run, scenario: Scenario) -> AnyProgram:
    """Decoding with attention on memory devices: a fixed batch, or with ``--requests`` a stream of requests."""
    options = LaminaOptions.of(scenario.options)
    scenario = replace(scenario, options=options)
    pools = pools_of(scenario)
    if options.probe is not None:
        return probe_network(run, scenario, pools)
    if has_stream(scenario):
        return serve_lamina(run, scenario, pools)
    return generate(run, scenario, FixedBatch(scenario, pools))


def tensor_parallel(scenario: Scenario) -> Pools:
    """Everything on GPUs that share the model."""
    return Pools((gpus_of(scenario),), (), 1, True, "")


def vllm_tp(run: Run, scenario: Scenario) -> GenerationProgram:
    """Decoding on tensor-parallel GPUs: a fixed batch, or with ``--requests`` a stream of requests."""
    scenario = replace(scenario, options=TensorParallelOptions.of(scenario.options))
    pools = tensor_parallel(scenario)
    if has_stream(scenario):
        return serve_tensor_parallel(run, scenario, pools)
    return generate(run, scenario, FixedBatch(scenario, pools))
