"""NCCL's topology XML becomes a topology."""

from __future__ import annotations

from pathlib import Path

import pytest

from controller.errors import BadTopology
from controller.topology.graph import route
from controller.topology.importing.sketch import Given
from controller.topology.importing.table import import_topology
from controller.topology.loader import load_topology

XML = """\
<system version="1">
  <cpu host_hash="0x1" numaid="0" affinity="ff" arch="x86_64" vendor="GenuineIntel" familyid="6" modelid="143">
    <pci busid="0000:10:00.0" class="0x060400" link_speed="32.0 GT/s PCIe" link_width="16">
      <pci busid="0000:18:00.0" class="0x030200" link_speed="32.0 GT/s PCIe" link_width="16">
        <gpu dev="0" sm="90" rank="0" gdr="1">
          <nvlink target="0000:05:00.0" count="9" tclass="0x068000"/>
          <nvlink target="0000:06:00.0" count="9" tclass="0x068000"/>
        </gpu>
      </pci>
      <pci busid="0000:19:00.0" class="0x020700" link_speed="32.0 GT/s PCIe" link_width="16">
        <nic>
          <net name="mlx5_0" dev="0" speed="400000" port="1" latency="0.000000" guid="0x1" maxconn="131072" gdr="1"/>
        </nic>
      </pci>
    </pci>
  </cpu>
  <cpu host_hash="0x1" numaid="1" affinity="ff00" arch="x86_64" vendor="GenuineIntel" familyid="6" modelid="143">
    <pci busid="0000:90:00.0" class="0x030200" link_speed="8.0 GT/s PCIe" link_width="8">
      <gpu dev="1" sm="90" rank="1" gdr="1">
        <nvlink target="0000:05:00.0" count="18" tclass="0x068000"/>
      </gpu>
    </pci>
  </cpu>
</system>
"""

PLATFORMS = Path(__file__).parents[4] / "fixtures" / "platforms"
GIVEN = Given({"gpu": "h100_sxm"}, {"sockets": ("60 GB/s", "150 ns")}, "400 ns")


def imported(tmp_path, text: str, given: Given = GIVEN):
    (tmp_path / "topo.xml").write_text(text)
    (tmp_path / "topo.yaml").write_text(import_topology("nccl", tmp_path / "topo.xml", "topo", given))
    return load_topology(tmp_path / "topo.yaml")


def complaint(tmp_path, text: str, given: Given = GIVEN) -> str:
    with pytest.raises(BadTopology) as caught:
        imported(tmp_path, text, given)
    return str(caught.value)


def test_gpus_switches_and_nics_are_where_they_were(tmp_path):
    topo = imported(tmp_path, XML)
    assert list(topo.devices) == ["gpu0", "gpu1"]
    assert topo.switches == ("network", "root0", "pcie0", "nic0", "root1", "nvswitch")
    assert [hop.head.vertex for hop in route(topo, "gpu0", "gpu1").hops] == ["nvswitch", "gpu1"]
    ends = {link.name for link in topo.links}
    assert {"gpu0.pcie-pcie0", "pcie0-root0", "nic0-pcie0", "nic0-network", "gpu1.pcie-root1", "root0-root1"} <= ends


def test_rates_are_speed_times_width_and_lanes_times_their_rate(tmp_path):
    links = {link.name: link for link in imported(tmp_path, XML).links}
    assert links["gpu0.pcie-pcie0"].forward_bytes_per_s == pytest.approx(32e9 * 16 * 128 / 130 / 8, rel=1e-3)
    assert links["gpu1.pcie-root1"].forward_bytes_per_s == pytest.approx(8e9 * 8 * 128 / 130 / 8, rel=1e-3)
    assert links["nic0-network"].forward_bytes_per_s == pytest.approx(50e9)
    both = [links[f"gpu{i}.nvlink-nvswitch"].forward_bytes_per_s for i in (0, 1)]
    assert both == pytest.approx([18 * 20.6e9] * 2)
    assert "topo.xml:4" in links["gpu0.pcie-pcie0"].constants["forward"].source


def test_nvlinks_between_gpus_are_one_cable_each_pair(tmp_path):
    text = XML.replace(
        'target="0000:05:00.0" count="18" tclass="0x068000"', 'target="0000:18:00.0" count="4" tclass="0x030200"'
    )
    text = text.replace('<nvlink target="0000:06:00.0" count="9" tclass="0x068000"/>', "")
    text = text.replace(
        'target="0000:05:00.0" count="9" tclass="0x068000"', 'target="0000:90:00.0" count="4" tclass="0x030200"'
    )
    direct = [link for link in imported(tmp_path, text).links if link.name.count("nvlink") == 2]
    assert [link.forward_bytes_per_s for link in direct] == pytest.approx([4 * 20.6e9])


def test_processors_become_devices_when_their_product_is_given(tmp_path):
    given = Given({"gpu": "h100_sxm", "cpu": "xeon_8480"}, GIVEN.links, GIVEN.latency)
    topo = imported(tmp_path, XML, given)
    assert [device.spec.kind for device in topo.devices.values()] == ["cpu", "cpu", "gpu", "gpu"]
    assert [hop.head.vertex for hop in route(topo, "cpu0", "gpu0").hops] == ["root0", "pcie0", "gpu0"]


@pytest.mark.parametrize(
    ("before", "after", "line", "said"),
    [
        ("<system", "<systen", 1, "this is not XML"),
        ('<system version="1">', '<topology version="1">', 1, "this is not XML"),
        ('sm="90" rank="1"', 'sm="x" rank="1"', 19, "sm='x' is no number"),
        ('sm="90" rank="1"', 'rank="1"', 19, "lacks the attribute 'sm'"),
        ('sm="90" rank="1"', 'sm="35" rank="1"', 19, "no rate of its NVLinks is known"),
        ('link_speed="8.0 GT/s PCIe" ', "", 18, "nothing says how fast the link 'pcie' is"),
        (
            '"0000:05:00.0" count="18" tclass="0x068000"',
            '"0000:77:00.0" count="18" tclass="0x030200"',
            20,
            "not a GPU of",
        ),
        ('host_hash="0x1" numaid="1"', 'host_hash="0x2" numaid="1"', 1, "the processors are of 2 hosts"),
    ],
)
def test_a_mistake_is_found_with_its_line(tmp_path, before, after, line, said):
    text = complaint(tmp_path, XML.replace(before, after))
    assert said in text, text
    assert f"topo.xml:{line}:" in text or said == "this is not XML", text


def test_foreign_xml_cannot_name_files_or_grow(tmp_path):
    secret = tmp_path / "secret"
    secret.write_text("x")
    outside = f'<!DOCTYPE system [<!ENTITY a SYSTEM "{secret}">]>\n' + XML
    assert "entities are not read" in complaint(tmp_path, outside)
    laughs = '<!DOCTYPE system [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]>\n' + XML
    assert "topo.xml:1: the file declares an entity" in complaint(tmp_path, laughs)
    deep = "<system>" + "<pci>" * 100 + "</pci>" * 100 + "</system>"
    assert "more than 64 levels" in complaint(tmp_path, deep)


def test_a_file_without_gpus_is_refused(tmp_path):
    assert "no <gpu> in the file" in complaint(tmp_path, '<system version="1"/>')


def test_gpus_are_called_by_their_number_not_by_their_place(tmp_path):
    text = XML.replace('dev="0" sm', 'dev="5" sm')
    links = {link.name for link in imported(tmp_path, text).links}
    assert {"gpu1.pcie-pcie0", "gpu0.pcie-root1"} <= links
    assert "two <gpu> have the same dev" in complaint(tmp_path, XML.replace('dev="1" sm', 'dev="0" sm'))


def test_gpus_of_amd_are_joined_by_xgmi(tmp_path):
    text = (PLATFORMS / "rccl_xgmi.xml").read_text()
    topo = imported(tmp_path, text, Given({"gpu": "mi300x"}, {}, "500 ns"))
    (cable,) = (link for link in topo.links if link.a.port == "xgmi")
    assert str(cable.b) == "gpu1.xgmi" and cable.forward_bytes_per_s == 48e9
    assert "RCCL" in cable.constants["forward"].source
    assert len(route(topo, "gpu0", "gpu1").hops) == 1
    faster = imported(tmp_path, text, Given({"gpu": "mi300x"}, {"xgmi": ("64 GB/s", "")}, "500 ns"))
    assert route(faster, "gpu0", "gpu1").hops[0].link.forward_bytes_per_s == 64e9


def test_a_file_of_slots_alone_is_read_by_pci_class(tmp_path):
    text = (PLATFORMS / "nccl_without_gpus.xml").read_text()
    given = Given({"gpu": "a100_sxm_80"}, {}, "500 ns")
    topo = imported(tmp_path, text, given)
    assert list(topo.devices) == ["gpu0", "gpu1"] and topo.switches == ("root0", "pcie0", "nic0")
    made = import_topology("nccl", tmp_path / "topo.xml", "topo", given)
    assert "Not taken over: NVLinks" in made and "Not taken over: networks" in made and "NCCL_TOPO_DUMP_FILE" in made
    links = {"nvlink": ("274 GB/s", ""), "network": ("25 GB/s", "2 us")}
    whole = imported(tmp_path, text, Given({"gpu": "a100_sxm_80"}, links, "500 ns"))
    assert [hop.head.vertex for hop in route(whole, "gpu0", "gpu1").hops] == ["nvswitch", "gpu1"]
    assert "nic0-network" in {link.name for link in whole.links}


def test_two_ports_of_a_card_share_its_slot(tmp_path):
    second = '<net name="mlx5_1" dev="1" speed="400000" port="2" latency="0" guid="0x2" maxconn="1" gdr="1"/>'
    topo = imported(tmp_path, XML.replace("        </nic>", f"          {second}\n        </nic>"))
    assert [link.name for link in topo.links if "nic0" in link.name] == ["nic0-pcie0", "nic0_port0", "nic0_port1"]


def test_functions_of_one_card_share_its_slot(tmp_path):
    card = XML[XML.index('      <pci busid="0000:19') : XML.index("    </pci>\n  </cpu>")]
    second = card.replace("19:00.0", "19:00.1").replace("mlx5_0", "mlx5_1").replace('gdr="1"', 'gdr="0"')
    topo = imported(tmp_path, XML.replace(card, card + second))
    assert [switch for switch in topo.switches if switch.startswith("nic")] == ["nic0"]
    assert len([link for link in topo.links if "network" in (link.a.vertex, link.b.vertex)]) == 2
    assert "gdr=0 of <net>" in (tmp_path / "topo.yaml").read_text()


def test_what_takes_no_part_is_noted(tmp_path):
    idle = '    <pci busid="0000:20:00.0" class="0x030200"/>\n    <pci busid="0000:21:00.0" class="0x010802"/>\n'
    topo = imported(
        tmp_path,
        XML.replace(
            '  </cpu>\n  <cpu host_hash="0x1" numaid="1"', f'{idle}  </cpu>\n  <cpu host_hash="0x1" numaid="1"'
        ).replace('gdr="1"/>', 'gdr="1" rail="3"/>'),
    )
    text = (tmp_path / "topo.yaml").read_text()
    assert len(topo.devices) == 2 and "pcie1" not in topo.switches
    for note in ("0000:20:00.0, a GPU that took no part", "0000:21:00.0, a device that is no GPU", "rail of <net>"):
        assert note in text


def test_a_slot_of_unknown_width_must_be_given(tmp_path):
    text = XML.replace('link_speed="8.0 GT/s PCIe" link_width="8"', 'link_speed="Unknown" link_width="255"')
    assert "nothing says how fast the link 'pcie' is" in complaint(tmp_path, text)
    odd = XML.replace('link_width="8"', 'link_width="63"')
    assert "nothing says how fast the link 'pcie' is" in complaint(tmp_path, odd)


def test_nvlinks_may_lead_to_the_processor(tmp_path):
    text = XML.replace(
        'target="0000:05:00.0" count="18" tclass="0x068000"', 'target="0004:01:01.0" count="3" tclass="0x068001"'
    )
    topo = imported(tmp_path, text)
    ends = {(str(link.a), str(link.b)) for link in topo.links}
    assert ("gpu1.nvlink", "root1") in ends


def test_a_network_without_speed_is_that_of_the_user(tmp_path):
    text = XML.replace('speed="400000" ', "")
    assert "lacks the attribute 'speed'" in complaint(tmp_path, text)
    given = Given(GIVEN.products, {**GIVEN.links, "network": ("50 GB/s", "1 us")}, GIVEN.latency)
    assert imported(tmp_path, text, given).devices


def test_the_file_of_the_channels_is_named(tmp_path):
    (tmp_path / "g.xml").write_text("<graphs version='1'><graph id='0' pattern='4' nchannels='2'/></graphs>")
    with pytest.raises(BadTopology, match=r"NCCL_GRAPH_DUMP_FILE names, .* give what NCCL_TOPO_DUMP_FILE"):
        import_topology("nccl", tmp_path / "g.xml", "g", Given({"gpu": "h100_sxm"}))


C2C = """\
<system version="2">
  <cpu host_hash="0x1" numaid="0" affinity="ff" arch="arm64" vendor="ARM">
    <pci busid="0009:01:00.0" class="0x030200" link_speed="" link_width="0">
      <gpu dev="0" sm="90" rank="0" gdr="1"><c2c bw="45000" count="10" lanes="3"/></gpu>
    </pci>
  </cpu>
</system>
"""


def test_a_gpu_may_reach_its_processor_over_c2c(tmp_path):
    topo = imported(tmp_path, C2C, Given({"gpu": "gh200"}, {}, "400 ns"))
    assert [(str(link.a), link.forward_bytes_per_s) for link in topo.links] == [("gpu0.c2c", 450e9)]
    text = (tmp_path / "topo.yaml").read_text()
    assert "Not taken over: lanes of <c2c>" in text and "slots of the GPUs, since gh200 reaches" in text


def test_what_two_ends_say_of_their_links_must_agree(tmp_path):
    switched = 'target="0000:05:00.0" count="18" tclass="0x068000"'
    peers = XML.replace('target="0000:05:00.0" count="9" tclass="0x068000"', 'target="0000:90:00.0" count="4"')
    peers = peers.replace('<nvlink target="0000:06:00.0" count="9" tclass="0x068000"/>', "")
    assert imported(tmp_path, peers.replace(switched, 'target="0000:18:00.0" count="4"')).devices
    said = complaint(tmp_path, peers.replace(switched, 'target="0000:18:00.0" count="2"'))
    assert "2 links from gpu1 to gpu0, and 4 the other way" in said


def test_parts_of_a_gpu_and_gdr_are_not_dropped(tmp_path):
    parts = XML.replace('<gpu dev="1" sm="90" rank="1" gdr="1">', '<gpu dev="2" sm="90"/><gpu dev="1" sm="90" gdr="1">')
    assert "several <gpu> in one <pci>" in complaint(tmp_path, parts)
    imported(
        tmp_path, XML.replace('rank="1" gdr="1"', 'rank="1" gdr="0"').replace('count="9" t', 'count="9" mode="3" t')
    )
    text = (tmp_path / "topo.yaml").read_text()
    assert "gdr=0 of <gpu>" in text and "mode of <nvlink>" in text
