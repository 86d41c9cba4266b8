"""A file of many hosts has one entry a line: the same topology, the same complaints, and read at once."""

from __future__ import annotations

import pytest

from controller.errors import BadTopology
from controller.topology.importing import written
from controller.topology.importing.sketch import Given
from controller.topology.importing.table import import_topology
from controller.topology.line_entries import large_text, read_entries
from controller.topology.loader import load_topology

INFRA = """\
name: big
devices:
  - name: server
    components: [{name: xpu, choice: xpu, count: 2}, {name: nic, choice: nic, count: 1}]
    links: [{name: pcie, physical: {bandwidth: {gigabytes_per_second: 64}, latency: {ns: 500}}}]
    edges: [{ep1: {component: xpu}, ep2: {component: nic}, scheme: many2many, link: pcie}]
  - name: switch
    components: [{name: asic, choice: switch, count: 1}]
links: [{name: cable, physical: {bandwidth: {gigabits_per_second: 400}, latency: {us: 1}}}]
instances: [{name: box, device: server, count: 8}, {name: leaf, device: switch, count: 1}]
edges:
  - {ep1: {instance: box, component: nic}, ep2: {instance: leaf, component: asic}, scheme: many2many, link: cable}
"""


@pytest.fixture
def both(tmp_path, monkeypatch):
    (tmp_path / "i.yaml").write_text(INFRA)
    texts = []
    for most in (100, 4):
        monkeypatch.setattr(written, "LARGE", most)
        texts.append(import_topology("infragraph", tmp_path / "i.yaml", "big", Given({"gpu": "h100_sxm"})))
    return texts


def load(tmp_path, text: str):
    (tmp_path / "big.yaml").write_text(text)
    return load_topology(tmp_path / "big.yaml")


def test_both_layouts_are_the_same_topology(tmp_path, both):
    small, large = (load(tmp_path, text) for text in both)
    assert large.digest == small.digest and len(large.devices) == 16 and len(large.links) == 24
    assert large.links[0].constants["forward"].source == small.links[0].constants["forward"].source
    assert read_entries(both[0]) is None and read_entries(both[1]) is not None


def test_a_mistake_in_a_large_file_has_its_line(tmp_path, both):
    number = next(n for n, row in enumerate(both[1].splitlines(), 1) if row.startswith('"box_3_host"'))
    with pytest.raises(BadTopology, match=rf"big\.yaml:{number}: .*h100_sxn"):
        load(
            tmp_path,
            both[1].replace('"box_3_xpu_1": {"product": "h100_sxm"}', '"box_3_xpu_1": {"product": "h100_sxn"}'),
        )
    rows = both[1].splitlines()
    number = next(n for n, row in enumerate(rows) if row.startswith('{"ends": ["box_5_xpu_1'))
    rows[number] = rows[number].replace("box_5_xpu_1.", "box_5_xpu_1.x")
    with pytest.raises(BadTopology, match=rf"big\.yaml:{number + 1}: "):
        load(tmp_path, "\n".join(rows) + "\n")


@pytest.mark.parametrize(
    "spoil",
    [
        lambda text: text.replace('{"name": "big",', '{"name": "big", "name": "other",'),
        lambda text: text.replace("]}\n", "]\n"),
        lambda text: text + "trailing: 1\n",
        lambda text: text.replace('"box_1_host"', '"box_0_host"'),
        lambda text: text.replace('"product": "h100_sxm"', '"product": "h100_sxm", "product": "l40s"', 1),
    ],
)
def test_what_has_not_that_layout_is_left_to_yaml(tmp_path, both, spoil):
    spoiled = spoil(both[1])
    assert spoiled != both[1] and read_entries(spoiled) is None
    with pytest.raises(BadTopology, match=r"big\.yaml:\d+: "):
        load(tmp_path, spoiled)


def test_an_empty_section_is_read_back():
    text = large_text(["# a"], "x", {"hosts": {}, "links": [{"a": 1}]})
    found = read_entries(text)
    assert found is not None and found[0] == {"name": "x", "hosts": {}, "links": [{"a": 1}]}
