"""A transfer that is alone takes what the device model says: the fabric and `node.hardware.transfer` are one truth."""

import math

import numpy as np
import pytest

from controller.fabric.loads import Fabric
from controller.topology.graph import routes_of
from controller.topology.loader import load_topology
from node.hardware.transfer import transfer_cost

TOPOLOGY = load_topology("a6000_2csd")
FABRIC = Fabric(TOPOLOGY)
PLACES = [(device.name, tier) for device in TOPOLOGY.devices.values() for tier in device.spec.tiers]
PAIRS = [(a, b) for a in PLACES for b in PLACES if a != b]


@pytest.mark.parametrize(("source", "destination"), PAIRS)
def test_latency_and_rate_are_those_of_the_executors(source, destination):
    load = FABRIC.transfer_load(*source, *destination)
    ends = [TOPOLOGY.devices[name] for name, _ in (source, destination)]
    tiers = [device.spec.tiers[tier] for device, (_, tier) in zip(ends, (source, destination), strict=True)]
    hops = routes_of(TOPOLOGY).route(source[0], destination[0]).hops
    ports = {}
    if hops:
        sides = zip(("out_port", "in_port"), ends, (hops[0].tail, hops[-1].head), strict=True)
        ports = {key: device.spec.ports[end.port] for key, device, end in sides}
    narrowest = (hop.link.forward_bytes_per_s if hop.forward else hop.link.backward_bytes_per_s for hop in hops)
    cost = transfer_cost(
        2**30, *tiers, **ports,
        link_bytes_per_s=min(narrowest, default=math.inf),
        link_latency_s=math.fsum(hop.link.latency_s for hop in hops),
    )  # fmt: skip
    assert cost.latency_s == pytest.approx(load.latency_s, rel=1e-12)
    alone = min(load.rate_limit, float(np.min(FABRIC.capacity[load.resources] / load.weights)))
    assert cost.rate_bytes_per_s == pytest.approx(alone, rel=1e-12)


def test_both_tiers_are_waited_for():
    source, destination = TOPOLOGY.devices["csd0"].spec.tiers["flash"], TOPOLOGY.devices["gpu"].spec.tiers["hbm"]
    cost = transfer_cost(4096, source, destination)
    assert cost.latency_s == source.read_latency_s + destination.write_latency_s
