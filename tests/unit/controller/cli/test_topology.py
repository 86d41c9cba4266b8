"""``windtunnel topology`` and ``windtunnel devices`` on real files."""

import json

import click
import pytest

from controller.cli.devices import devices
from controller.cli.topology import topology
from controller.errors import BadOverride, BadTopology
from controller.topology.loader import list_topologies
from node.errors import UnknownProduct


def call(command, *arguments: str) -> None:
    """Runs a click command as `main` does: errors come out as they are."""
    command.main(list(arguments), prog_name="x", standalone_mode=False)


def test_check_says_what_it_found(capsys):
    call(topology, "check", "a6000_csd", "--set", "csd.count=3")
    assert capsys.readouterr().out.startswith("a6000_csd: ok, 5 devices, 5 links, digest ")


def test_check_as_json_names_each_file(capsys):
    call(topology, "check", "a6000_csd", "two_hosts", "--json")
    found = json.loads(capsys.readouterr().out)
    assert [each["name"] for each in found] == ["a6000_csd", "two_hosts"]
    assert all(len(each["digest"]) == 64 for each in found)


def test_check_and_show_refuse_what_is_wrong(tmp_path):
    with pytest.raises(BadOverride):
        call(topology, "check", "a6000_csd", "--set", "nothing.count=3")
    broken = tmp_path / "broken.yaml"
    broken.write_text("name: broken\nhots: {}\n")
    with pytest.raises(BadTopology, match=r"broken\.yaml"):
        call(topology, "show", str(broken))


def test_show_prints_overridden_values(capsys):
    call(topology, "show", "a6000_csd", "--set", "csd.flash.read=5 GB/s")
    shown = capsys.readouterr().out
    assert "5 GB/s" in shown
    for title in ("devices", "tiers and ports", "links", "routes", "assumed"):
        assert title in shown


def test_show_as_json_is_in_base_units(capsys):
    call(topology, "show", "a6000_csd", "--json")
    document = json.loads(capsys.readouterr().out)
    gpu = next(device for device in document["devices"] if device["name"] == "gpu")
    assert next(tier for tier in gpu["tiers"] if tier["name"] == "hbm")["capacity_bytes"] == 48 * 2**30


def test_show_without_a_name_lists_the_shipped_ones(capsys):
    call(topology, "show")
    assert "a6000_csd" in capsys.readouterr().out.split()


def test_devices_lists_products_and_counts_what_is_assumed(capsys):
    call(devices)
    lines = capsys.readouterr().out.splitlines()
    assert any("rtx_a6000" in line and "gpu" in line for line in lines)


def test_one_product_shows_every_constant_with_its_source(capsys):
    call(devices, "rtx_a6000", "--json")
    document = json.loads(capsys.readouterr().out)
    constant = next(each for each in document["constants"] if each["path"] == "hbm.read")
    assert (constant["text"], constant["kind"]) == ("768 GB/s", "datasheet")
    assert constant["source"]
    call(devices, "rtx_a6000")
    shown = capsys.readouterr().out
    assert all(each["path"] in shown for each in document["constants"])


def test_a_sheet_of_ones_own_is_listed(tmp_path, capsys):
    from node.hardware import catalog

    shipped = (catalog.resources.files("node.hardware") / "catalog" / "rtx_a6000.yaml").read_text()
    (tmp_path / "my_gpu.yaml").write_text(shipped.replace("product: rtx_a6000", "product: my_gpu"))
    call(devices, "--catalog", str(tmp_path), "--json")
    assert "my_gpu" in [each["product"] for each in json.loads(capsys.readouterr().out)]


def test_an_unknown_product_is_the_users_error():
    with pytest.raises(UnknownProduct, match="did you mean 'rtx_a6000'"):
        call(devices, "rtx_a600")


def test_import_writes_a_topology_that_loads(tmp_path, capsys):
    source, target = tmp_path / "box.txt", tmp_path / "box.yaml"
    source.write_text("\tGPU0\tGPU1\tCPU Affinity\tNUMA Affinity\nGPU0\tX\tPHB\t0-7\t0\nGPU1\tPHB\tX\t0-7\t0\n")
    given = ("--product", "l40s", "--latency", "500 ns")
    call(topology, "import", "nvidia-topo", str(source), *given, "-o", str(target))
    assert capsys.readouterr().out == f"wrote {target}\n"
    call(topology, "check", str(target))
    assert "2 devices" in capsys.readouterr().out
    call(topology, "import", "nvidia-topo", str(source), *given, "--name", "mine", "--link", "slot=20 GB/s,1 us")
    shown = capsys.readouterr().out
    assert shown.startswith("# Imported from box.txt") and "name: mine" in shown and '"20 GB/s"' in shown


def test_import_refuses_what_it_cannot_use(tmp_path):
    with pytest.raises(BadTopology, match="cannot be read"):
        call(topology, "import", "nccl", str(tmp_path / "nothing.xml"))
    with pytest.raises(click.UsageError, match="write --link NAME=BANDWIDTH"):
        call(topology, "import", "nccl", "x.xml", "--link", "slot")
    with pytest.raises(click.UsageError, match="cannot name a topology"):
        call(topology, "import", "nccl", "x.xml", "--name", "no name")


def test_show_prints_the_matrix_of_a_host(capsys):
    call(topology, "show", "h100_leaf_spine", "--host", "host5")
    assert "matrix of host5" in capsys.readouterr().out


def test_list_has_every_shipped_topology_with_its_devices_and_a_sentence(capsys):
    call(topology, "list", "--json")
    found = {each["name"]: each for each in json.loads(capsys.readouterr().out)}
    assert tuple(found) == list_topologies()
    assert found["two_hosts"] == {
        "name": "two_hosts",
        "devices": 4,
        "description": "Two hosts with a GPU each, joined back to back by a 100 Gb/s cable",
    }
    assert all(each["description"] for each in found.values())
