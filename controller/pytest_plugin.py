"""Fixtures for tests of one's own strategies and offloading schemes on emulated devices.

    def test_a_round_trip_through_a_drive(windtunnel_cluster):
        cluster = windtunnel_cluster("a6000_csd")
        drive = cluster.clients["csd"]
        drive.allocate("x", "flash", "fp32", (4,))
        drive.write("x", np.arange(4, dtype=np.float32))
        assert drive.read("x").tolist() == [0, 1, 2, 3]

    def test_my_strategy_generates_what_the_model_does(windtunnel_local):
        found = windtunnel_local("mine.py:mine", batch=2, prompt_tokens=5, output_tokens=9)
        assert found.outcome.ok
        assert found.comparison["tokens_equal"] == found.comparison["tokens_compared"] == 18

`controller.conformance` has a whole suite for a strategy. Every node that a test started is gone when it ends, whether
it passed or not. What nodes need is imported by the first test that asks for a cluster, so that pytest itself starts as
fast as before.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from controller.experiment.result import Experiment
    from controller.launch import Cluster
    from controller.topology.schema import Topology

LoadTopology = Callable[..., "Topology"]
StartCluster = Callable[..., "Cluster"]
RunLocally = Callable[..., "Experiment"]


def pytest_addoption(parser: pytest.Parser) -> None:
    """Adds ``--update-timelines``."""
    parser.addoption("--update-timelines", action="store_true", help="Write the golden timelines of strategies anew.")


@pytest.fixture
def windtunnel_topology() -> LoadTopology:
    """Loads a topology: ``windtunnel_topology(name_or_path, overrides=(), catalog_folders=())``."""
    from controller.topology.loader import load_topology

    return load_topology


@pytest.fixture
def windtunnel_cluster() -> Iterator[StartCluster]:
    """Starts the nodes of a topology: ``windtunnel_cluster(name_or_path, overrides=(), pace=None)``.

    A test may call it several times; ``cluster.clients["gpu"]`` is the client of the device ``gpu``.
    """
    from controller.launch import launch
    from controller.topology.loader import load_topology

    with ExitStack() as running:

        def start(
            topology: str | Path | Topology,
            overrides: Sequence[str] = (),
            *,
            pace: float | None = None,
            catalog_folders: Sequence[str | Path] = (),
        ) -> Cluster:
            if isinstance(topology, str | Path):
                topology = load_topology(topology, overrides, catalog_folders)
            return running.enter_context(launch(topology, pace=pace))

        yield start


@pytest.fixture
def windtunnel_local() -> RunLocally:
    """Runs a strategy in this process, in milliseconds: ``windtunnel_local(strategy, model="tiny-opt", **asked)``.

    `strategy` is a name or ``file.py:function``; the rest is the fields of `controller.experiment.run_spec.RunSpec`:
    topology, overrides, batch, prompt_tokens, output_tokens, seq, steps, options, seed. What comes back has the
    ``outcome`` (virtual time, occupancy, what ran out) and the ``comparison`` with the plain run of the model.
    """
    from controller.execute.local import one_thread
    from controller.experiment.run import run_experiment
    from controller.experiment.run_spec import RunSpec

    def run(strategy: str | Path, model: str = "tiny-opt", **asked: Any) -> Experiment:
        with one_thread():
            return run_experiment(RunSpec(str(strategy), model, local=True, **asked))

    return run
