"""Which switch adds up or multiplies what several devices send, and why none does."""

import pytest

from controller.errors import BadTopology
from controller.topology.loader import load_topology
from controller.topology.meeting import meeting_of
from controller.topology.schema import Abilities, Device, Endpoint, Link, Topology
from node.hardware.device import DeviceSpec, PortSpec

SPEC = DeviceSpec("toy", "gpu", "", {}, {}, {"nic": PortSpec("nic", 1e9, 1e9)}, {})
ABLE = Abilities(("fp32",), True, 5e9)


def leaves(abilities):
    """a0, a1 under leaf_a, b0, b1 under leaf_b, and a spine above both."""
    names = ["a0", "a1", "b0", "b1"]
    links = [Link(name, Endpoint(name, "nic"), Endpoint(f"leaf_{name[0]}"), 1e9, 1e9, 1e-6) for name in names]
    links += [Link(f"up_{side}", Endpoint(f"leaf_{side}"), Endpoint("spine"), 1e9, 1e9, 1e-6) for side in "ab"]
    devices = {name: Device(name, name, 0, name, SPEC) for name in names}
    return Topology("leaves", "", devices, ("leaf_a", "leaf_b", "spine"), tuple(links), abilities=abilities)


def test_every_switch_in_which_links_join_must_add():
    found = meeting_of(leaves({"spine": ABLE}), ["a0", "a1", "b0", "b1"], "fp32", 4)
    assert isinstance(found, str) and "leaf_a of leaves declares no reduction" in found
    able = dict.fromkeys(("leaf_a", "leaf_b", "spine"), ABLE)
    assert not isinstance(meeting_of(leaves(able), ["a0", "a1", "b0", "b1"], "fp32", 4), str)


def test_a_leaf_that_adds_is_enough_for_its_own():
    found = meeting_of(leaves({"leaf_a": ABLE}), ["a0", "a1"], "fp32", 2)
    assert found.switch == "leaf_a" and found.rate_bytes_per_s == 5e9
    assert [[hop.link.name for hop in way] for way in found.up] == [["a0"], ["a1"]]


def test_one_from_each_leaf_meets_in_any_switch_on_the_way_that_adds():
    assert meeting_of(leaves({"spine": ABLE}), ["a0", "b0"], "fp32", 2).switch == "spine"


@pytest.mark.parametrize(
    ("devices", "dtype", "said"),
    [
        (["a0", "a1"], "int8", "adds fp32, not int8"),
        (["a0"], "fp32", "is alone; a reduction"),
        (["a0", "b0", "b1"], "fp32", "leaf_b of leaves declares no reduction"),
    ],
)
def test_it_says_why_not(devices, dtype, said):
    assert said in meeting_of(leaves({"leaf_a": ABLE}), devices, dtype, len(devices))


def test_multicast_needs_the_ability_where_links_part():
    no_copies = Abilities(("fp32",), False, 5e9)
    said = meeting_of(leaves({"leaf_a": no_copies}), ["a0", "a1"], receivers=2)
    assert "declares no multicast" in said


HEAD = """name: box
hosts:
  h:
    switches:
      - %s
    devices:
      gpu: {product: h100_sxm, count: 2}
    links:
      - {ends: [gpu.nvlink, sw], bandwidth: 450 GB/s, latency: 300 ns}
"""


def load(tmp_path, switch):
    path = tmp_path / "box.yaml"
    path.write_text(HEAD % switch)
    return load_topology(path)


def test_a_switch_may_be_a_name_or_say_what_it_does(tmp_path):
    plain = load(tmp_path, "sw")
    able = load(tmp_path, "{name: sw, reduction: true, multicast: true, types: [fp32], rate: 400 GB/s}")
    assert plain.switches == able.switches == ("sw",)
    assert plain.abilities == {} and able.abilities["sw"].rate_bytes_per_s == 400e9
    assert able.abilities["sw"].constants["rate"].kind == "assumed"
    assert plain.digest != able.digest


@pytest.mark.parametrize(
    ("switch", "said"),
    [
        ("{name: sw, reduction: true, types: [fp32]}", "rate: stands with reduction: true or multicast: true"),
        ("{name: sw, rate: 400 GB/s}", "rate: stands with"),
        ("{name: sw, reduction: true, rate: 400 GB/s}", "types: lists what reduction: true can add"),
        ("{name: sw, reduction: true, types: [fp33], rate: 400 GB/s}", "no element type 'fp33'"),
        ("{name: sw, reductions: true}", "did you mean 'reduction'?"),
        ("[sw]", "write the name of a switch"),
    ],
)
def test_what_cannot_be_meant_is_refused_with_its_line(switch, said, tmp_path):
    with pytest.raises(BadTopology) as caught:
        load(tmp_path, switch)
    assert said in str(caught.value) and "box.yaml:5" in str(caught.value)
