"""How many KV blocks the devices of an instance have room for."""

from __future__ import annotations

from controller.errors import BadTopology
from controller.models.sharding import Sharding
from controller.serving.kv_pool import BLOCK_TOKENS
from controller.serving.paged_pool import scratch_bytes
from controller.serving.saturated_stream import OUTSIDE_ALONE_BYTES, OUTSIDE_BYTES
from controller.topology.schema import Topology
from node.hardware.operation import ITEM_BYTES


def kv_blocks(
    topology: Topology, sharding: Sharding, utilisation: float, pass_tokens: int, block_tokens: int = BLOCK_TOKENS
) -> int:
    """Blocks that every rank has room for beside weights, activations and what lies outside of PyTorch.

    Args:
        topology: of the devices.
        sharding: weights of the instance.
        utilisation: share of a device's memory that the server takes.
        pass_tokens: of the largest iteration.
        block_tokens: of a block.

    Raises:
        BadTopology: less than one block, or a device without memory of its own.
    """
    shape, item, world = sharding.shape, ITEM_BYTES[sharding.dtype], sharding.world
    found: list[int] = []
    for rank, device in enumerate(sharding.devices):
        tiers = topology.devices[device].spec.tiers
        if "hbm" not in tiers:
            raise BadTopology(f"{device} of topology {topology.name!r} has no tier hbm; it has {', '.join(tiers)}")
        usable = int(tiers["hbm"].capacity_bytes * utilisation)
        weights = sharding.weight_bytes(rank)
        aside = scratch_bytes(shape, pass_tokens, item) // world + (OUTSIDE_BYTES if world > 1 else OUTSIDE_ALONE_BYTES)
        start, stop = sharding.kv[rank]
        block_bytes = 2 * (stop - start) * shape.head_dim * item * shape.layers * block_tokens
        left = usable - weights - aside
        if left < block_bytes:
            raise BadTopology(
                f"{device} has {usable} bytes at utilisation {utilisation:g}; {shape.name} takes {weights} for weights "
                f"and {aside} for activations and the framework, which leaves {max(left, 0)} for the KV cache, less "
                f"than one block of {block_tokens} tokens ({block_bytes} bytes); raise --tp or --utilisation"
            )
        found.append(left // block_bytes)
    return min(found)


def block_bytes(sharding: Sharding, block_tokens: int = BLOCK_TOKENS) -> int:
    """Bytes of one block over all layers on the first rank."""
    start, stop = sharding.kv[0]
    shape, item = sharding.shape, ITEM_BYTES[sharding.dtype]
    return 2 * (stop - start) * shape.head_dim * item * shape.layers * block_tokens
