"""Instances whose devices share the experts of a model: what is checked, their room for a KV cache, and their times."""

from __future__ import annotations

from math import prod

from controller.errors import BadTopology, BadWorkload
from controller.models.shape import ModelShape
from controller.offload.expert_placement import ExpertPlacement, placed
from controller.serving.device_times.expert_parts import ExpertParts, rank_weights
from controller.serving.device_times.expert_times import ExpertTimes
from controller.serving.device_times.times import HostCosts
from controller.serving.kv_pool import BLOCK_TOKENS
from controller.serving.paged_pool import scratch_bytes
from controller.serving.saturated_stream import OUTSIDE_ALONE_BYTES, OUTSIDE_BYTES
from controller.topology.schema import Topology
from node.hardware.operation import ITEM_BYTES

UNSERVED = ("capacity", "sinks", "kv_type")
"""Parts of a model that iterations cannot be made of."""


def check_parallel(shape: ModelShape, ep: int, tp: int, pp: int) -> None:
    """Refuses ways to divide a model that iterations cannot be made of.

    Raises:
        BadWorkload: names what cannot be and what to write.
    """
    if ep < 1:
        raise BadWorkload(f"--ep is {ep}; at least 1 is needed")
    strange = [part for part in shape.parts if part in UNSERVED]
    if strange:
        raise BadWorkload(
            f"{shape.name} has {' and '.join(strange)}, which serving does not take yet; choose another --model"
        )
    if shape.experts is None and ep > 1:
        raise BadWorkload(f"--ep {ep}: {shape.name} has no experts to divide; remove --ep, or write --tp {ep}")
    if shape.parts and (tp > 1 or pp > 1):
        raise BadWorkload(
            f"--tp {tp} --pp {pp}: {shape.name} has {' and '.join(shape.parts)}, whose devices have whole attention "
            f"layers and share experts; write --ep {tp * pp} instead"
        )


def expert_placement(shape: ModelShape, ep: int, redundant: int = 0) -> ExpertPlacement:
    """Experts of the layers of `shape` over the devices of an instance.

    Raises:
        BadWorkload: experts that do not divide; says which numbers do.
    """
    assert shape.experts is not None
    count = shape.experts.count
    if (count + redundant) % ep:
        fitting = [number for number in range(1, count + 1) if count % number == 0]
        nearest = sorted(fitting, key=lambda number: abs(number - ep))[:2]
        copies = -count % ep
        more = f", or --cluster-option redundant={copies}" if copies <= count else ""
        raise BadWorkload(
            f"--ep {ep}: {count} experts and {redundant} redundant copies of {shape.name} do not divide over {ep} "
            f"devices; write --ep {' or '.join(map(str, sorted(nearest)))}{more}"
        )
    return placed(count, ep, redundant)


def rank_blocks(
    topology: Topology, shape: ModelShape, device: str, dtype: str, slots: int, utilisation: float, pass_tokens: int,
    weight_bytes: int = 0,
) -> int:  # fmt: skip
    """KV blocks that one device has room for beside its weights, activations and what lies outside of PyTorch.

    Args:
        topology: of the device.
        shape: of the model.
        device: one of the group.
        dtype: of activations and cache.
        slots: of experts on it.
        utilisation: share of its memory that the server takes.
        pass_tokens: of the largest iteration on it.
        weight_bytes: in place of those that `shape` says; 0 for those [bytes].

    Raises:
        BadTopology: less than one block.
    """
    tier = topology.devices[device].spec.tiers.get("hbm")
    if tier is None:
        raise BadTopology(f"{device} of topology {topology.name!r} has no tier hbm")
    own = rank_weights(shape, dtype, slots).values()
    weights = weight_bytes or sum(ITEM_BYTES[kind] * prod(extents) for kind, extents in own)
    usable = int(tier.capacity_bytes * utilisation)
    aside = scratch_bytes(shape, pass_tokens, ITEM_BYTES[dtype])
    aside += OUTSIDE_BYTES if slots < (shape.experts.count if shape.experts else 1) else OUTSIDE_ALONE_BYTES
    block_bytes = shape.kv_bytes_per_token(dtype) * BLOCK_TOKENS
    left = usable - weights - aside
    if left < block_bytes:
        raise BadTopology(
            f"{device} has {usable} bytes at utilisation {utilisation:g}; {shape.name} takes {weights} for weights "
            f"with {slots} experts a layer and {aside} for activations and the framework, which leaves {max(left, 0)} "
            f"for the KV cache, less than one block of {BLOCK_TOKENS} tokens ({block_bytes} bytes); raise --ep or "
            f"--utilisation"
        )
    return int(left // block_bytes)


def expert_times(
    topology: Topology, shape: ModelShape, devices: tuple[str, ...], placement: ExpertPlacement, blocks: int,
    most_tokens: int, host: HostCosts, grain: int, dtype: str,
) -> ExpertTimes:  # fmt: skip
    """Times of iterations of a group whose every device has room for `blocks` KV blocks."""
    parts = ExpertParts(topology, shape, devices, dtype, placement, blocks * BLOCK_TOKENS, most_tokens)
    return ExpertTimes(topology, parts, host, grain)
