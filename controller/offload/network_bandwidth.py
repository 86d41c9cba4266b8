"""How fast the network between the pools must be, by the paper's formula: for choosing hardware, never for times.

Model: an iteration moves q and the result (d elements each) and k and v (d / G each) of every request and layer; the
model's time is that of its arithmetic or of reading its weights, attention's that of reading the cache, both at the
sheet's peak.
Source: Lamina (arXiv 2405.01814), sections 2.2 and 3.1: BW_min = (2 + 2 / G) e d B L / (alpha (MTIME + ATIME)).
"""

from __future__ import annotations

from controller.models.shape import ModelShape
from node.hardware.device import DeviceSpec
from node.hardware.operation import ITEM_BYTES


def network_bytes(shape: ModelShape, batch: int, dtype: str = "") -> int:
    """Bytes that an iteration moves between the pools [bytes]."""
    item = ITEM_BYTES[dtype or shape.dtype]
    return (2 * shape.q_size + 2 * shape.kv_size) * item * batch * shape.layers


def least_bandwidth_bytes_per_s(
    shape: ModelShape,
    model: DeviceSpec,
    memory: DeviceSpec,
    batch: int,
    context_tokens: int,
    slowdown: float = 0.2,
    dtype: str = "",
) -> float:
    """Bandwidth at which sending takes at most `slowdown` of an iteration's other time [bytes/s].

    Args:
        shape: the model.
        model, memory: one device of each pool.
        batch: requests of the iteration.
        context_tokens: cached tokens of each.
        slowdown: alpha.
        dtype: of weights, cache and what is sent; the published one when empty.
    """
    kind = dtype or shape.dtype
    weights = shape.weight_bytes(kind)
    peak = max(unit.peak_flop_per_s.get(kind, 0.0) for unit in model.computes.values())
    model_s = max(2.0 * shape.parameter_count * batch / peak, weights / model.tiers["hbm"].read_bytes_per_s)
    cache = batch * context_tokens * shape.kv_bytes_per_token(kind)
    attention_s = cache / memory.tiers["hbm"].read_bytes_per_s
    return network_bytes(shape, batch, kind) / (slowdown * (model_s + attention_s))
