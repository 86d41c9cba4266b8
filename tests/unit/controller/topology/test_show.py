"""What `topology show` prints, as JSON and as tables."""

from __future__ import annotations

import json

import pytest

from controller.errors import UserError
from controller.topology.loader import load_topology
from controller.topology.matrix import hosts_of
from controller.topology.show.json_document import topology_document
from controller.topology.show.selection import ROUTES_SHOWN
from controller.topology.show.tables import topology_tables


def tables(topology):
    return {table.title.split(" between ")[0]: table for table in topology_tables(topology)}


def test_the_document_is_json_in_base_units(load, toy_text):
    toy = load(toy_text, "csd.flash.read=11.2 GB/s")
    document = json.loads(json.dumps(topology_document(toy)))
    assert document["digest"] == toy.digest and document["overrides"] == ["csd.flash.read=11.2 GB/s"]
    drive = document["devices"][2]
    assert (drive["name"], drive["group"], drive["product"], drive["kind"]) == ("csd0", "csd", "toy_drive", "csd")
    assert drive["tiers"][0]["read_bytes_per_s"] == 11.2e9
    assert drive["tiers"][0]["capacity_bytes"] == 10**12
    assert document["links"][2]["ends"] == ["csd0.pcie", "root"]
    assert {"from": "gpu", "to": "csd0", "links": ["gpu.pcie-root", "csd0.pcie-root"], "latency_s": 1.5e-6} in document[
        "routes"
    ]
    assert {"of": "csd0, csd1", "constant": "flash.read", "value": "11.2 GB/s", "source": "override"} in document[
        "assumed"
    ]


def test_tables_print_quantities_as_they_were_declared(load):
    shown = tables(load())
    assert [row[0] for row in shown["devices"].rows] == ["cpu", "gpu", "csd0", "csd1"]
    assert ("gpu: hbm", "dram tier", "8 GiB", "800 GB/s", "400 GB/s", "900 GB/s", "300 ns / 0 s") in shown[
        "tiers and ports"
    ].rows
    assert ("csd0, csd1: flash", "flash tier", "1 TB", "8 GB/s", "4 GB/s", "reads and writes take turns",
            "40 us / 10 us") in shown["tiers and ports"].rows  # fmt: skip
    assert ("csd1.pcie-root", "csd1.pcie", "root", "7 GB/s", "6.5 GB/s", "1 us") in shown["links"].rows
    assert ("cpu", "gpu", "cpu.pcie-root gpu.pcie-root", "900 ns") in shown["routes"].rows
    for table in shown.values():
        assert all(len(row) == len(table.columns) for row in table.rows)


def test_members_that_an_override_sets_apart_have_rows_of_their_own(load, toy_text):
    rows = tables(load(toy_text, "csd.count=7", "csd3.flash.read=1 GB/s"))["tiers and ports"].rows
    flash = [(row[0], row[3]) for row in rows if row[0].endswith("flash")]
    assert flash == [("csd0 to csd6 (6 devices): flash", "8 GB/s"), ("csd3: flash", "1 GB/s")]


def test_a_large_cluster_lists_routes_between_groups(load, toy_text):
    document = topology_document(load(toy_text, f"csd.count={ROUTES_SHOWN}"))
    assert document["routes_between"] == "the first devices of the groups"
    assert [(row["from"], row["to"]) for row in document["routes"]] == [
        ("cpu", "gpu"),
        ("cpu", "csd0"),
        ("gpu", "csd0"),
    ]


def test_devices_that_nothing_joins_have_no_route(load, toy_text):
    routes = topology_document(load(toy_text, "link.gpu.pcie-root.failed=true"))["routes"]
    assert [(row["from"], row["to"]) for row in routes] == [("cpu", "csd0"), ("cpu", "csd1"), ("csd0", "csd1")]


def test_devices_and_links_that_are_alike_share_a_row_when_there_are_thousands() -> None:
    shown = {table.title: table for table in topology_tables(load_topology("a6000_csd", ("csd.count=2000",)))}
    names = [row[0] for row in shown["devices"].rows]
    assert names == ["cpu", "gpu", "csd0 to csd1999 (2000 devices)"]
    assert sum("(2000 links)" in row[0] for row in shown["links"].rows) == 1
    assert len(shown["links"].rows) < 10


def test_a_matrix_that_nobody_can_read_is_left_out_or_refused() -> None:
    topology = load_topology("dgx_h100", ("gpu.count=300",))
    (host,) = hosts_of(topology)
    assert not [table for table in topology_tables(topology) if table.title.startswith("matrix")]
    with pytest.raises(UserError, match="is 300; the limit is 256: its matrix has 90,000 cells; remove --host"):
        topology_tables(topology, host)
