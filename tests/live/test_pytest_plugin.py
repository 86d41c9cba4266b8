"""The fixtures that a researcher's own tests use: they start nodes, and nothing is left when the test ends."""

import psutil
import pytest

pytest_plugins = ["pytester"]
pytestmark = pytest.mark.live

ROUND_TRIP = """
import numpy as np

def test_a_round_trip_through_a_drive(windtunnel_cluster):
    cluster = windtunnel_cluster("a6000_csd", pace=None)
    drive = cluster.clients["csd0"]
    drive.allocate("x", "flash", "fp32", (4,))
    drive.write("x", np.arange(4, dtype=np.float32))
    assert drive.read("x").tolist() == [0, 1, 2, 3]
"""

FAILING = """
def test_that_fails_with_nodes_up(windtunnel_cluster):
    cluster = windtunnel_cluster("a6000_csd", overrides=["csd.count=2"])
    assert sorted(cluster.clients) == ["cpu", "csd0", "csd1", "gpu"]
    assert False, "on purpose"
"""

TOPOLOGY = """
import sys

def test_a_topology_needs_no_node(windtunnel_topology):
    assert windtunnel_topology("a6000_csd", ["csd.count=3"]).group("csd")[2].name == "csd2"
    assert "torch" not in sys.modules and "grpc" not in sys.modules
"""


@pytest.fixture
def nothing_left(tmp_path, monkeypatch):
    """Runs of the test lie in a folder of their own, which no process may name and no run may lie in at its end."""
    runs = tmp_path / "runs"
    monkeypatch.setenv("WINDTUNNEL_RUNS", str(runs))
    yield
    assert not [path for path in runs.iterdir() if path.is_dir()], "a run directory was left"
    named = [each.pid for each in psutil.process_iter(["cmdline"]) if str(runs) in " ".join(each.info["cmdline"] or [])]
    assert not named, "a process was left"


def test_a_cluster_is_ten_lines(pytester, nothing_left):
    pytester.makepyfile(ROUND_TRIP)
    pytester.runpytest_subprocess("-p", "no:cacheprovider").assert_outcomes(passed=1)


def test_nodes_are_stopped_when_a_test_fails(pytester, nothing_left):
    pytester.makepyfile(FAILING)
    pytester.runpytest_subprocess("-p", "no:cacheprovider").assert_outcomes(failed=1)


def test_the_plugin_itself_costs_nothing(pytester):
    pytester.makepyfile(TOPOLOGY)
    pytester.runpytest_subprocess("-p", "no:cacheprovider").assert_outcomes(passed=1)
