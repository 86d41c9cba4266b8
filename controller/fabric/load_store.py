"""What CXL cards add to the loads of kernels and transfers: memory over a link, and a cache of the host in front of it.

A kernel whose operands lie on a card loads the card, its port, every link and the port of the CPU. A transfer into what
one just like it wrote a moment ago (`absorbed`) finds its lines in the last-level cache of the host: as much as that
holds never comes to the card, so the card is loaded with the rest alone (`node.hardware.cache.absorbed_write_s`).
"""

from __future__ import annotations

from dataclasses import replace

from controller.errors import BadPlan
from controller.fabric.drawn import drawn
from controller.fabric.parts import Load, Parts, Side
from controller.topology.graph import routes_of
from node.hardware.cache import absorbed_write_s


def far_side(parts: Parts, device: str, name: str, direction: int) -> Side:
    """Everything between a kernel of `device` and the tier ``owner.tier`` that it reads (0) or writes (1)."""
    owner, _, tier = name.partition(".")
    source, target = (device, owner) if direction else (owner, device)
    hops = routes_of(parts.topology).route(source, target).hops
    ends = (hops[0].tail, hops[-1].head)
    own, far = (ends[0], ends[1]) if direction else (ends[1], ends[0])
    memory, port = parts.sides(owner, tier, far.port, direction)
    links = tuple(entry for hop in drawn(hops)[0] for entry in parts.hop_side(hop))
    # What a kernel writes leaves its device by the port, so that the directions are opposite there.
    return (*memory, *port, *links, *parts.port(device, own.port, 1 - direction))


def absorbed(parts: Parts, load: Load, source: str, owner: str, tier: str, nbytes: int) -> Load:
    """`load` of a transfer of `nbytes` to a card whose host takes a part of it into its last-level cache.

    Raises:
        BadPlan: no CPU of the chassis of `owner` says how large that cache is.
    """
    topology = parts.topology
    hosts = [device for device in topology.of_kind("cpu") if device.host == topology.devices[owner].host]
    caches = [unit.constants["l2"] for host in hosts for unit in host.spec.computes.values() if "l2" in unit.constants]
    if not caches or topology.devices[owner].spec.kind != "cxl":
        raise BadPlan(
            f"a transfer from {source} to {owner}.{tier} cannot be absorbed: that takes a card of kind cxl and a cpu "
            f"beside it whose sheet gives l2; remove path='absorbed'"
        )
    card = {resource for resource, _ in parts.memory(owner, tier, 1)}
    behind = min(parts.capacity[resource] / weight for resource, weight in parts.memory(owner, tier, 1))
    ahead = min(
        parts.capacity[resource] / weight
        for resource, weight in zip(load.resources.tolist(), load.weights.tolist(), strict=True)
        if resource not in card
    )
    share = max(0.0, nbytes - caches[0]) / nbytes if nbytes else 0.0
    weights = load.weights.copy()
    for place, resource in enumerate(load.resources.tolist()):
        if resource in card:
            weights[place] *= share
    alone_s = absorbed_write_s(nbytes, caches[0], float(ahead), float(behind))
    limit = nbytes / alone_s if alone_s else load.rate_limit
    return replace(load, weights=weights, rate_limit=min(load.rate_limit, limit))
