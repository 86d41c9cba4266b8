"""An InfraGraph document becomes a topology."""

from __future__ import annotations

import pytest

from controller.errors import BadTopology
from controller.topology.graph import route
from controller.topology.importing.sketch import Given
from controller.topology.importing.table import import_topology
from controller.topology.loader import load_topology

TEXT = """\
name: two-servers
devices:
  - name: server
    components:
      - {name: cpu, choice: cpu, count: 1}
      - {name: xpu, choice: xpu, count: 2}
      - {name: nvsw, choice: switch, count: 1}
      - {name: card, choice: device, count: 2}
    links:
      - {name: fabric}
      - name: pcie
        physical:
          bandwidth: {choice: gigabytes_per_second, gigabytes_per_second: 64}
          latency: {choice: ns, ns: 500}
    edges:
      - {ep1: {component: xpu}, ep2: {component: nvsw}, scheme: many2many, link: fabric}
      - {ep1: {component: "xpu[0:2]"}, ep2: {component: "cpu[0]"}, scheme: many2many, link: pcie}
      - {ep1: {component: "card[0:2].pins[0]"}, ep2: {component: cpu}, scheme: many2many, link: pcie}
  - name: card
    components:
      - {name: pins, choice: custom, count: 1}
      - {name: nic, choice: nic, count: 1}
    links: [{name: trace, physical: {bandwidth: {gigabits_per_second: 512}}}]
    edges: [{ep1: {component: pins}, ep2: {component: nic}, scheme: one2one, link: trace}]
  - name: switch
    components: [{name: asic, choice: cpu, count: 1}, {name: port, choice: port, count: 4}]
    links: [{name: ic, physical: {bandwidth: {gigabits_per_second: 400}}}]
    edges: [{ep1: {component: asic}, ep2: {component: port}, scheme: many2many, link: ic}]
links:
  - {name: cable, physical: {bandwidth: {gigabits_per_second: 400}, latency: {us: 1}}}
instances: [{name: box, device: server, count: 2}, {name: top, device: switch, count: 1}]
edges:
  - ep1: {instance: "box[0]", component: "card[:].nic"}
    ep2: {instance: top, component: "port[0:2]"}
    scheme: one2one
    link: cable
  - ep1: {instance: "box[1]", component: "card[:].nic"}
    ep2: {instance: top, component: "port[2:4]"}
    scheme: one2one
    link: cable
"""

GIVEN = Given({"gpu": "h100_sxm"}, {"fabric": ("450 GB/s", "300 ns")}, "100 ns")


def imported(tmp_path, text: str, given: Given = GIVEN):
    (tmp_path / "i.yaml").write_text(text)
    (tmp_path / "out.yaml").write_text(import_topology("infragraph", tmp_path / "i.yaml", "out", given))
    return load_topology(tmp_path / "out.yaml")


def complaint(tmp_path, text: str, given: Given = GIVEN) -> str:
    with pytest.raises(BadTopology) as caught:
        imported(tmp_path, text, given)
    return str(caught.value)


def test_instances_expand_to_devices_and_switches(tmp_path):
    found = imported(tmp_path, TEXT)
    assert list(found.devices) == ["box_0_xpu_0", "box_0_xpu_1", "box_1_xpu_0", "box_1_xpu_1"]
    assert {device.host for device in found.devices.values()} == {"box_0_host", "box_1_host"}
    near = [hop.head.vertex for hop in route(found, "box_0_xpu_0", "box_0_xpu_1").hops]
    assert near[0] in ("box_0_nvsw_0", "box_0_cpu_0")
    far = [hop.head.vertex for hop in route(found, "box_0_xpu_0", "box_1_xpu_1").hops]
    assert far == [
        "box_0_cpu_0", "box_0_card_0_pins_0", "box_0_card_0_nic_0", "top_0_port_0", "top_0_asic_0", "top_0_port_2",
        "box_1_card_0_nic_0", "box_1_card_0_pins_0", "box_1_cpu_0", "box_1_xpu_1",
    ]  # fmt: skip


def test_ports_and_rates(tmp_path):
    links = {link.name: link for link in imported(tmp_path, TEXT).links}
    fabric = links["box_1_xpu_0.nvlink-box_1_nvsw_0"]
    assert (fabric.forward_bytes_per_s, fabric.latency_s) == (450e9, 300e-9)
    slot = links["box_1_xpu_0.pcie-box_1_cpu_0"]
    assert (slot.forward_bytes_per_s, slot.latency_s) == (64e9, pytest.approx(500e-9))
    assert "i.yaml:11, link pcie" in slot.constants["forward"].source
    assert links["box_0_card_1_nic_0-top_0_port_1"].forward_bytes_per_s == 50e9


def test_json_is_read_too(tmp_path):
    import json

    from ruamel.yaml import YAML

    document = YAML(typ="safe").load(TEXT)
    assert imported(tmp_path, json.dumps(document)).devices.keys() == imported(tmp_path, TEXT).devices.keys()


def test_a_processor_becomes_a_device_where_something_computes(tmp_path):
    given = Given({"gpu": "h100_sxm", "cpu": "xeon_8480"}, GIVEN.links, GIVEN.latency)
    found = imported(tmp_path, TEXT, given)
    assert [device.name for device in found.of_kind("cpu")] == ["box_0_cpu_0_cores", "box_1_cpu_0_cores"]


@pytest.mark.parametrize(
    ("before", "after", "line", "said"),
    [
        ('"xpu[0:2]"', '"gpu[0:2]"', 17, "no component 'gpu[0:2]'"),
        ('"cpu[0]"', '"cpu[1]"', 17, "'cpu[1]' is no part of 1 components"),
        ("link: trace}]", "link: traces}]", 24, "no link 'traces'; did you mean 'trace'?"),
        ("device: server", "device: serve", 31, "no device 'serve'; did you mean 'server'?"),
        ('{instance: top, component: "port[0:2]"}', "{instance: tip, component: port}", 33, "no component 'tip'"),
        ('"port[0:2]"', '"port[0:3]"', 33, "one2one joins 2 ends with 3"),
        ("scheme: one2one, link: trace", "scheme: ring, link: trace", 24, "the scheme 'ring' is not read"),
        ("count: 2}, {name: top", "count: 0}, {name: top", 31, "a count of 0"),
        ("choice: xpu", "choice: custom", 2, "no component xpu"),
        ("gigabytes_per_second: 64}", "gigabytes_per_second: }", 11, "its bandwidth is None in gigabytes_per_second"),
        ("gigabytes_per_second: 64}", "gigabytes_per_second: -64}", 11, "write a number of 0 or more"),
        ("gigabytes_per_second: 64}", "gigabytes_per_second: .inf}", 11, "its bandwidth is inf"),
        ("ns: 500}", "ns: [500]}", 11, "its latency is [500] in ns"),
        ("ns: 500}", "ns: 5us}", 11, "its latency is '5us' in ns"),
        ("latency: {choice: ns, ns: 500}", "latency: 500", 11, "its latency is 500; write one of ms, us, ns"),
        ("physical: {bandwidth: {gigabits_per_second: 512}}", "physical: fast", 23, "its bandwidth is 'fast'"),
        ("{name: nic, choice: nic, count: 1}", "{name: card, choice: device, count: 1}", 22, "holds itself"),
    ],
)
def test_a_mistake_is_found_with_its_line(tmp_path, before, after, line, said):
    text = complaint(tmp_path, TEXT.replace(before, after))
    assert f"i.yaml:{line}:" in text and said in text, text


def test_a_rate_that_nobody_says_must_be_given(tmp_path):
    assert "nothing says how fast the link 'fabric' is" in complaint(
        tmp_path, TEXT, Given({"": "h100_sxm"}, {}, "1 us")
    )
    assert "nothing says how long the link 'fabric' takes" in complaint(
        tmp_path, TEXT, Given({"": "h100_sxm"}, {"fabric": ("450 GB/s", "")})
    )


@pytest.mark.parametrize(
    ("before", "after", "line", "said"),
    [
        (
            "links: [{name: trace",
            "connections: [pins.0.trace.nic.0]\n    links: [{name: trace",
            23,
            "the key 'connections'",
        ),
        ("{component: asic}, ep2: {component: port}", "asic.0, ep2: port.0", 28, "the connection 'asic.0'"),
    ],
)
def test_the_older_layout_is_named(tmp_path, before, after, line, said):
    found = complaint(tmp_path, TEXT.replace(before, after))
    assert f"i.yaml:{line}: {said} is of InfraGraph's older layout" in found and "ep1, ep2, scheme and link" in found


def test_what_is_not_read_is_noted(tmp_path):
    (tmp_path / "i.yaml").write_text(
        TEXT.replace("latency: {us: 1}", "latency: {us: 1}, jitter: {us: 3}") + "annotations: {owner: us}\n"
    )
    text = import_topology("infragraph", tmp_path / "i.yaml", "out", GIVEN)
    assert "# Not taken over: annotations." in text and "# Not taken over: jitter of physical." in text


@pytest.mark.parametrize(
    ("before", "after", "note"),
    [
        ("{component: cpu}, scheme", "{component: cpu, lane: 3}, scheme", "lane of ep2"),
        ("latency: {us: 1}", "latency: {s: 1}", "s of latency"),
        ("{gigabits_per_second: 512}", "{gigabits_per_second: 512, efficiency: 0.5}", "efficiency of bandwidth"),
    ],
)
def test_keys_within_links_and_ends_are_noted_too(tmp_path, before, after, note):
    (tmp_path / "i.yaml").write_text(TEXT.replace(before, after))
    assert f"# Not taken over: {note}." in import_topology("infragraph", tmp_path / "i.yaml", "out", GIVEN)


def test_a_unit_that_is_not_the_choice_is_refused(tmp_path):
    text = TEXT.replace("choice: gigabytes_per_second", "choice: gigabits_per_second")
    said = complaint(tmp_path, text)
    assert "i.yaml:13: the bandwidth is in gigabytes_per_second, but its choice is 'gigabits_per_second'" in said
    older = "infrastructure:\n  devices:\n  - name: pc\n    connections: [cpu.0.pcie.xpu.0]\n"
    assert "i.yaml:4: the key 'connections' is of InfraGraph's older layout" in complaint(tmp_path, older)
    (tmp_path / "i.yaml").write_text("infrastructure:\n  name: x\n")
    with pytest.raises(BadTopology, match="the infrastructure lies inside of a response"):
        import_topology("infragraph", tmp_path / "i.yaml", "out", GIVEN)
