"""Chassis as if on machines of their own: other addresses, TLS, no shared memory; same values, same declared time."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from controller.errors import StartFailed
from controller.experiment.run import run_experiment
from controller.experiment.run_spec import RunSpec
from controller.launch import Cluster, Listening, connect, launch, start_detached, stop
from controller.launch.clocks import clock_offset_s
from controller.topology.loader import load_topology
from node.client import NodeClient, Operand, Push
from node.protocol import CREDENTIALS_FILE
from node.wire.description import Description

pytest.importorskip("cryptography")
pytestmark = pytest.mark.live
TWO_CHASSIS = Path(__file__).parent / "two_chassis.yaml"
APART = Listening({"compute": "127.0.0.1", "storage": "127.0.0.2"}, share_memory=False)


def test_a_generation_has_the_same_tokens_and_times(monkeypatch: pytest.MonkeyPatch) -> None:
    request = RunSpec("instinfer", "tiny-opt", str(TWO_CHASSIS), batch=2, prompt_tokens=6, output_tokens=6, live=True)
    here = run_experiment(request)
    monkeypatch.setattr(
        "controller.experiment.live.launch",
        lambda topology, pace, needs, node_timeout_s: launch(
            topology, pace, needs=needs, node_timeout_s=node_timeout_s, listening=APART
        ),
    )
    apart = run_experiment(request)
    assert apart.outcome.ok and apart.comparison["tokens_equal"] == apart.comparison["tokens_compared"] == 12
    assert apart.comparison["tokens"] == here.comparison["tokens"]
    assert apart.outcome.time_s == here.outcome.time_s


@pytest.fixture(scope="module")
def apart(twins: SimpleNamespace):
    """Two devices in one chassis and one in another, all without shared memory."""
    declared = twins.topology(
        ("a", "compute", twins.device_spec()),
        ("b", "compute", twins.device_spec()),
        ("far", "storage", twins.device_spec("csd", flash=True)),
    )
    with launch(declared, listening=APART) as cluster:
        yield cluster


@pytest.mark.parametrize(("target", "tier", "rate"), [("b", "hbm", 1e8), ("far", "hbm", 1e8), ("far", "flash", 5e7)])
def test_a_push_travels_by_a_stream_and_takes_its_declared_time(
    apart: Cluster, target: str, tier: str, rate: float
) -> None:
    words = 3_000_000
    values = np.arange(words, dtype=np.int32)
    source, there = apart.clients["a"], apart.clients[target]
    source.allocate("x", "hbm", "int32", (words,))
    there.allocate("y", tier, "int32", (words,))
    source.write("x", values)
    apart.start_clocks()
    push = Push(
        1, Operand("x", 0, (words,)), ((target, Operand("y", 0, (words,))),),
        out_port="pcie", in_port="pcie", links=("a-root>", f"{target}-root<"),
    )  # fmt: skip
    (done,) = source.submit([push], ready_at=0.0).result(60)
    assert done.error == ""
    assert done.end_at - done.start_at == pytest.approx(4 * words / rate, rel=1e-6)
    assert np.array_equal(there.read("y"), values)
    maps = Path(f"/proc/{apart.processes['a']}/maps").read_text()
    shared = {line.split()[4] for line in maps.splitlines() if "memfd:" in line}
    assert len(shared) == 1, "its own memory and nobody else's"
    source.free("x")
    there.free("y")


def test_a_range_that_is_not_there_is_refused_before_a_byte_is_taken(apart: Cluster) -> None:
    for name in ("a", "far"):
        apart.clients[name].allocate("z", "hbm", "fp32", (8,))
    apart.clients["far"].write("z", np.full(8, 7, np.float32))
    push = Push(9, Operand("z", 0, (8,)), (("far", Operand("z", 4, (8,))),))
    (failed,) = apart.clients["a"].submit([push], ready_at=0.0).result(30)
    assert failed.error.startswith("OutOfRange")
    assert (apart.clients["far"].read("z") == 7).all()
    for name in ("a", "far"):
        apart.clients[name].free("z")


def test_pacing_reaches_over_machines(twins: SimpleNamespace) -> None:
    """The arbiter and the peer grant their shares over TLS; a paced push is never early."""
    declared = twins.topology(("a", "compute", twins.device_spec()), ("far", "storage", twins.device_spec()))
    words = 1_000_000
    with launch(declared, pace=2.0, listening=APART) as cluster:
        cluster.clients["a"].allocate("x", "hbm", "fp32", (words,))
        cluster.clients["far"].allocate("x", "hbm", "fp32", (words,))
        cluster.start_clocks()
        whole = Operand("x", 0, (words,))
        push = Push(
            1, whole, (("far", whole),), out_port="pcie", in_port="pcie", links=("a-root>", "far-root<"),
        )  # fmt: skip
        (done,) = cluster.clients["a"].submit([push], ready_at=0.0).result(60)
        assert done.error == ""
        assert 4 * words / 1e8 <= done.end_at - done.start_at + 1e-9
        assert cluster.device_now() >= done.end_at


def test_a_detached_cluster_is_connected_to_with_its_credentials(runs_folder: Path) -> None:
    topology = load_topology(str(TWO_CHASSIS))
    running = start_detached(topology, "apart", listening=APART)
    try:
        assert set(running.targets) == set(topology.devices)
        with connect("apart", topology) as cluster:
            cluster.clients["gpu"].allocate("x", "hbm", "fp32", (4,))
            assert cluster.clients["gpu"].describe().buffers[0].name == "x"
        (running.directory / CREDENTIALS_FILE).write_text("{}")
        with pytest.raises(StartFailed, match="broken"):
            connect("apart", topology)
    finally:
        stop("apart")
    assert not running.directory.exists()


def test_an_address_of_another_machine_cannot_be_bound(twins: SimpleNamespace, runs_folder: Path) -> None:
    declared = twins.topology(("a", "h", twins.device_spec()))
    with (
        pytest.raises(StartFailed, match=r"203\.0\.113\.7"),
        launch(declared, listening=Listening({"h": "203.0.113.7"})),
    ):
        pass


class _Elsewhere(NodeClient):
    """A node on a machine whose clock is 1000 s ahead, over a network that is slow now and then."""

    def __init__(self, seconds: list[float]) -> None:
        self._seconds = iter(seconds)

    def describe(self) -> Description:
        from controller.clock import wall_clock_s

        now = wall_clock_s()
        return Description("d", "h", None, 1, 0.0, (), {}, "another machine", now + 1000.0)  # type: ignore[arg-type]


def test_device_time_zero_is_translated_to_the_clock_of_another_machine(apart: Cluster) -> None:
    assert clock_offset_s(apart.clients["a"]) == 0.0
    assert clock_offset_s(_Elsewhere([])) == pytest.approx(1000.0, abs=0.05)
