"""Which devices share a process."""

import pytest

from controller.errors import BadTopology
from controller.launch.preflight import DEVICE_BYTES, NODE_BYTES, demand_of
from controller.launch.processes import process_count
from controller.topology.loader import load_topology


@pytest.mark.parametrize(("choice", "count"), [("device", 16), ("host", 2), ("supernode", 1)])
def test_a_topology_says_what_a_process_carries(choice, count):
    topology = load_topology("two_dgx_h100", (f"options.process={choice}",))
    devices = topology.devices.values()
    assert process_count(topology, devices) == (len(devices) if choice == "device" else count)


def test_a_device_in_a_shared_process_takes_less():
    apart, together = (
        demand_of(load_topology("two_dgx_h100", (f"options.process={choice}",)), {})
        for choice in ("device", "supernode")
    )
    shared = apart.nodes - together.nodes
    assert apart.ram_bytes - together.ram_bytes == shared * (NODE_BYTES - DEVICE_BYTES)


def test_another_word_is_refused_with_those_that_are_known():
    topology = load_topology("two_dgx_h100", ("options.process=rack",))
    with pytest.raises(BadTopology, match="is 'rack'; write one of device, host, supernode"):
        process_count(topology, topology.devices.values())
