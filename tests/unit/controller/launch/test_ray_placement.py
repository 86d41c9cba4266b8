"""Which machine carries which hosts, and what its nodes find there."""

from __future__ import annotations

from pathlib import Path

import pytest

from controller.errors import PreflightFailed, UserError
from controller.launch.cluster_file import cluster_content, settled
from controller.launch.listening import Listening, listening_on
from controller.launch.place import NodePlace
from controller.launch.preflight import MachineDemand, MachineSpeed, demand_of
from controller.launch.ray_placement import Machine, MachineShare, deal_hosts, slowest
from controller.topology.schema import Device, Endpoint, Link, Topology
from node.hardware.device import DeviceSpec, TierSpec

A, B, C = (Machine(letter * 8, f"10.0.0.{number}") for number, letter in enumerate("abc", 1))
TIERS = {"hbm": TierSpec("hbm", "dram", 1 << 40, 1e9, 1e9), "flash": TierSpec("flash", "flash", 1 << 40, 1e9, 1e9)}


def topology(hosts: str) -> Topology:
    """One device for each letter, in the host of that name."""
    spec = DeviceSpec("p", "csd", "", TIERS, {}, {}, {})
    made = {f"d{n}": Device(f"d{n}", "d", n, host, spec) for n, host in enumerate(hosts)}
    return Topology("t", "t", made, ("s",), (Link("d0-s", Endpoint("d0"), Endpoint("s"), 1.0, 1.0, 0.0),))


def test_equal_hosts_are_spread_and_stay_whole() -> None:
    declared = topology("xyzxyzw")
    assert deal_hosts(declared, {}, [A, B, C]) == (
        MachineShare(A, ("x", "w")),
        MachineShare(B, ("y",)),
        MachineShare(C, ("z",)),
    )
    shares = deal_hosts(declared, {}, [A, B])
    assert [share.hosts for share in shares] == [("x", "z"), ("y", "w")]


def test_a_large_host_is_alone_and_idle_machines_are_left_out() -> None:
    declared = topology("xyz")
    assert [share.hosts for share in deal_hosts(declared, {("d0", "hbm"): 10**12}, [A, B])] == [("x",), ("y", "z")]
    assert deal_hosts(topology("x"), {}, [A, B]) == (MachineShare(A, ("x",)),)
    with pytest.raises(UserError, match="no machine"):
        deal_hosts(declared, {}, [])


def test_a_machine_checks_its_own_share_alone() -> None:
    declared, needs = topology("xyx"), {("d0", "hbm"): 7, ("d1", "hbm"): 10**15, ("d2", "flash"): 5}
    here, there = demand_of(declared, needs, ("x",)), demand_of(declared, needs, ("y",))
    assert (here.nodes, here.disk_bytes, there.nodes, there.disk_bytes) == (2, 10, 1, 0)
    whole = demand_of(declared, needs)
    assert whole.nodes == 3 and whole.ram_bytes + demand_of(declared, {}, ()).ram_bytes == (
        here.ram_bytes + there.ram_bytes
    )
    place = NodePlace("machine seven")
    place.look(here, "", measure=False)
    with pytest.raises(PreflightFailed, match=r"on machine seven: .*for 1 nodes"):
        place.look(there, "", measure=False)
    with pytest.raises(PreflightFailed, match="on disk"):
        place.look(MachineDemand(1, 300, 0, 1 << 60), "/tmp", measure=False)


def test_the_slowest_machine_decides() -> None:
    one, other = MachineSpeed(1e9, 9e9, 1e-4, 8), MachineSpeed(2e9, 3e9, 2e-4, 4)
    assert slowest([one, other]) == MachineSpeed(1e9, 3e9, 2e-4, 4)


def test_a_share_holds_its_own_devices_and_every_link() -> None:
    declared = topology("xyx")
    listening = Listening({"x": "10.0.0.1", "y": "fd00::2"})
    content = cluster_content(Path("/r"), declared, 0.0, 2.0, None, listening, ("y",))
    assert {name: entry["target"] for name, entry in content["devices"].items()} == {"d1": "[fd00::2]:0"}
    assert list(content["links"]) == ["d0-s>", "d0-s<"] and content["secured"]
    whole = cluster_content(Path("/r"), declared, 0.0, None, None, listening)
    known = settled(whole, {"d0": "10.0.0.1:4", "d1": "[fd00::2]:5", "d2": "10.0.0.1:6"})
    assert [entry["target"] for entry in known["devices"].values()] == ["10.0.0.1:4", "[fd00::2]:5", "10.0.0.1:6"]
    assert known["arbiter"] == "" and whole["devices"]["d0"]["target"] == "10.0.0.1:0"


@pytest.mark.parametrize("address", ["0.0.0.0", "::", "224.0.0.1", "localhost", "10.0.0.1:80", "", "unix:/x"])
def test_addresses_that_no_peer_could_use(address: str) -> None:
    with pytest.raises(UserError, match="address"):
        listening_on(topology("x"), address).target("x")
    with pytest.raises(UserError, match="host y"):
        Listening({"x": "10.0.0.1"}).target("y")
