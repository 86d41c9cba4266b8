"""Links in bad condition, and groups whose members differ."""

from __future__ import annotations

import pytest

from controller.errors import BadOverride, BadTopology, NoRoute
from controller.fabric.loads import Fabric
from controller.topology.graph import route
from controller.topology.show.json_document import topology_document


def link_of(topology, name: str):
    return next(link for link in topology.links if link.name == name)


def test_a_degraded_link_has_the_share_that_is_left_in_each_direction(load, toy_text):
    text = toy_text.replace("backward: 6.5 GB/s, latency: 1 us", "backward: 6.5 GB/s, latency: 1 us, capacity: 0.5")
    link = link_of(load(text), "csd1.pcie-root")
    assert (link.forward_bytes_per_s, link.backward_bytes_per_s, link.latency_s) == (3.5e9, 3.25e9, 1e-6)
    source = link.constants["forward"].source
    assert "0.5 of it left" in source and "toy.yaml:12" in source
    assert link.constants["forward"].text == "3.5 GB/s"


def test_a_failed_link_is_kept_apart_and_no_route_knows_it(load, toy_text):
    broken = load(toy_text + "damage: [{link: csd1.pcie-root, failed: true}]\n")
    assert [link.name for link in broken.failed_links] == ["csd1.pcie-root"]
    assert len(broken.links) == 3
    assert "csd1.pcie-root>" not in Fabric(broken).resource_names
    with pytest.raises(NoRoute, match="csd1 has no link"):
        route(broken, "gpu", "csd1")
    assert broken.digest != load(toy_text).digest
    assert topology_document(broken)["failed_links"] == ["csd1.pcie-root"]


def test_damage_reaches_every_copy_of_a_link(load, toy_text):
    hurt = load(toy_text + "damage: [{link: csd.pcie-root, capacity: 0.1}]\n")
    assert [link_of(hurt, f"csd{i}.pcie-root").forward_bytes_per_s for i in (0, 1)] == pytest.approx([0.7e9] * 2)


def test_overrides_break_and_mend(load, toy_text):
    broken = load(toy_text, "link.csd.pcie-root.failed=true")
    assert len(broken.failed_links) == 2
    declared = toy_text + "damage: [{link: csd0.pcie-root, failed: true}]\n"
    assert not load(declared, "link.csd0.pcie-root.failed=false").failed_links
    assert link_of(load(toy_text, "link.gpu.pcie-root.capacity=0.25"), "gpu.pcie-root").forward_bytes_per_s == 8e9


@pytest.mark.parametrize("value", ["0", "1.5", "half", "nan"])
def test_a_share_is_a_share(load, toy_text, value):
    with pytest.raises(BadOverride, match="above 0 and at most 1"):
        load(toy_text, f"link.gpu.pcie-root.capacity={value}")


def test_failed_is_true_or_false(load, toy_text):
    with pytest.raises(BadOverride, match="failed is true or false, not 'maybe'"):
        load(toy_text, "link.gpu.pcie-root.failed=maybe")


def test_damage_of_no_link_is_found_with_its_line(load, toy_text):
    with pytest.raises(BadTopology, match=r"toy\.yaml:14: no link 'gpu.pci-root'; did you mean 'gpu.pcie-root'"):
        load(toy_text + "damage: [{link: gpu.pci-root, failed: true}]\n")
    with pytest.raises(BadTopology, match=r"toy\.yaml:14: .*capacity"):
        load(toy_text + "damage: [{link: gpu.pcie-root, capacity: 2.0}]\n")


def test_members_of_a_group_may_have_a_product_and_constants_of_their_own(load, toy_text):
    text = toy_text.replace(
        "{product: toy_drive, count: 2}",
        "{product: toy_drive, count: 3, set: {flash.read: 9 GB/s}, members: {1: {set: {flash.write: 1 GB/s}}}}",
    )
    drives = [device.spec.tiers["flash"] for device in load(text).group("csd")]
    assert [tier.read_bytes_per_s for tier in drives] == [9e9] * 3
    assert [tier.write_bytes_per_s for tier in drives] == [4e9, 1e9, 4e9]
    other = load(toy_text.replace("count: 2}", "count: 2, members: {0: {product: toy_gpu}}}"))
    assert [device.spec.product for device in other.group("csd")] == ["toy_gpu", "toy_drive"]


def test_a_member_that_is_not_there_is_an_error_with_its_line(load, toy_text):
    with pytest.raises(BadTopology, match=r"toy\.yaml:8: csd has no member 2; it has 2"):
        load(toy_text.replace("count: 2}", "count: 2, members: {2: {set: {flash.write: 1 GB/s}}}}"))
