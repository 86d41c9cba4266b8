"""Where shipped topologies are found, in a checkout and in a wheel."""

from __future__ import annotations

import pytest

from controller.errors import BadTopology
from controller.topology import shipped


@pytest.fixture(autouse=True)
def forget_the_folder():
    shipped.shipped_folder.cache_clear()
    yield
    shipped.shipped_folder.cache_clear()


def test_names_are_sorted_stems():
    assert shipped.list_topologies() == tuple(sorted(shipped.list_topologies()))
    assert "a6000_csd" in shipped.list_topologies()
    assert shipped.topology_path("a6000_csd").name == "a6000_csd.yaml"


def test_in_a_wheel_they_lie_beside_the_module(tmp_path, monkeypatch):
    (tmp_path / "declared").mkdir()
    (tmp_path / "declared" / "packaged.yaml").write_text("name: packaged\n")
    monkeypatch.setattr(shipped.resources, "files", lambda package: tmp_path)
    assert shipped.list_topologies() == ("packaged",)


def test_a_broken_installation_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(shipped.resources, "files", lambda package: tmp_path)
    monkeypatch.setattr(shipped, "__file__", str(tmp_path / "a" / "b" / "c.py"))
    with pytest.raises(BadTopology, match="install windtunnel again"):
        shipped.list_topologies()


def test_what_looks_like_a_path_is_never_a_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a6000_csd.yaml").write_text("mine")
    assert shipped.topology_path("a6000_csd.yaml").read_text() == "mine"
    assert shipped.topology_path("a6000_csd").read_text() != "mine"
    with pytest.raises(BadTopology, match="unknown topology 'a6000-csd'; did you mean 'a6000_csd'"):
        shipped.topology_path("a6000-csd")
