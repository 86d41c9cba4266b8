"""How many blocks a paged KV cache has room for, beside weights and what a framework keeps."""

from __future__ import annotations

from collections.abc import Sequence

from controller.errors import OutOfMemory
from controller.models.scenario import Scenario
from controller.models.shape import ModelShape
from controller.offload.gpu_model import GpuModel
from controller.plan.ops import Buffer
from controller.serving.recompute_course import blocks_of
from controller.topology.schema import Topology
from controller.workload.saturated import BLOCK_TOKENS
from node.hardware.operation import ITEM_BYTES


def count_blocks(
    scenario: Scenario, model: GpuModel, topology: Topology, share: float, pass_tokens: int, kept: Sequence[Buffer]
) -> int:
    """Blocks that every GPU has room for, each for its own layers, and no more than the batch can fill.

    Args:
        scenario: a batch of requests.
        model: the weights on the GPUs.
        topology: says how much memory they have.
        share: of it that the server takes.
        pass_tokens: tokens of the largest pass over prompts.
        kept: what lies beside weights, token ids and logits of the model; the second are token ids of a step, which
            lie twice where they move between GPUs.

    Raises:
        OutOfMemory: they do not hold one request to its end.
    """
    shape, item, found = scenario.shape, ITEM_BYTES[scenario.dtype], []
    rows = max(1, min(scenario.batch, pass_tokens // scenario.prompt_tokens))
    held = (*kept, model.ids, model.next_ids, model.logits)
    for gpu, layers, weights in model.spread():
        last = gpu == model.gpus[-1]
        # Scratch grows with all tokens of a pass, logits with its rows; passes and steps take turns.
        in_pass = scratch_bytes(shape, pass_tokens, item) + (rows + last) * shape.vocab * item
        of_rows = 4 * shape.heads + last * shape.vocab * item
        in_step = scratch_bytes(shape, scenario.batch, item) + scenario.batch * of_rows
        taken = weights + sum(buffer.nbytes for buffer in held if buffer.device == gpu) + kept[1].nbytes
        taken += max(in_pass, in_step)
        capacity = topology.devices[gpu].spec.tiers["hbm"].capacity_bytes
        usable = int(capacity * share)
        kept_item = ITEM_BYTES[scenario.kv_dtype]
        block_bytes = 2 * shape.kv_heads * shape.head_dim * kept_item * layers * BLOCK_TOKENS
        need = blocks_of(scenario.max_tokens - 1) * block_bytes
        if taken + need > usable:
            what = f"what one request needs beside weights at utilisation {share:g}"
            raise OutOfMemory(gpu, "hbm", taken + need, usable, capacity, what)
        found.append((usable - taken) // block_bytes)
    return min(*found, scenario.batch * blocks_of(scenario.max_tokens - 1))


def scratch_bytes(shape: ModelShape, tokens: int, item_bytes: int) -> int:
    """What an eager framework keeps for `tokens` tokens: two residual streams and the widest moment [bytes]."""
    heads = max(shape.q_size + 2 * shape.kv_size, shape.hidden)
    wide = (3 if shape.gated else 2) * max(shape.intermediate, shape.hidden)
    return tokens * (3 * shape.hidden + max(2 * heads, wide)) * item_bytes
