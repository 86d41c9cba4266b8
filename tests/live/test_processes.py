"""Devices that share a process are the devices that they were."""

from __future__ import annotations

import os
import signal
import time

import numpy as np
import pytest

from controller.errors import DeviceUnreachable
from controller.experiment.run import run_experiment
from controller.experiment.run_spec import RunSpec
from controller.launch import launch
from controller.topology.loader import load_topology
from node.client import NodeClient
from node.errors import NotCarried

pytestmark = pytest.mark.live


def test_a_process_for_each_device_or_host_gives_the_same_times_and_tokens() -> None:
    found = []
    for process in ("device", "supernode"):
        spec = RunSpec(
            "expert_parallel", "tiny-deepseek", "two_dgx_h100", overrides=(f"options.process={process}",), batch=4,
            prompt_tokens=5, output_tokens=2, live=True, options={"devices": "4"},
        )  # fmt: skip
        found.append(run_experiment(spec))
    for each in found:
        assert each.comparison is not None
        assert each.comparison["tokens_equal"] == each.comparison["tokens_compared"] == 8
    assert found[0].outcome.time_s == found[1].outcome.time_s


def test_a_whole_supernode_starts_and_keeps_its_devices_apart() -> None:
    topology = load_topology("cloudmatrix384")
    with launch(topology) as cluster:
        assert len(cluster.clients) == 1008 and len(set(cluster.processes.values())) == 1
        for number, name in enumerate(("npu0", "npu767", "cpu191")):
            tier = next(iter(topology.devices[name].spec.tiers))
            cluster.clients[name].allocate("x", tier, "fp32", (3,))
            cluster.clients[name].write("x", np.full(3, number, np.float32))
        assert [cluster.clients[name].read("x")[0] for name in ("npu0", "npu767", "cpu191")] == [0.0, 1.0, 2.0]
        stranger = NodeClient(cluster.whereabouts.targets["npu0"], "npu9999")
        with pytest.raises(NotCarried, match="carries no device 'npu9999'"):
            stranger.describe()


def test_a_killed_process_takes_the_devices_of_its_host_and_no_other() -> None:
    topology = load_topology("two_dgx_h100", ("options.process=host",))
    with launch(topology) as cluster:
        first = next(iter(topology.devices))
        victim = cluster.processes[first]
        dead = [name for name, pid in cluster.processes.items() if pid == victim]
        assert {topology.devices[name].host for name in dead} == {topology.devices[first].host}
        os.kill(victim, signal.SIGKILL)
        deadline = time.monotonic() + 10.0
        while time.monotonic() < deadline:
            try:
                cluster.check()
            except DeviceUnreachable as error:
                assert error.device in dead
                break
            time.sleep(0.05)
        else:
            pytest.fail("nobody noticed")
        with pytest.raises(DeviceUnreachable):
            cluster.clients[first].describe()
        alive = next(name for name in cluster.clients if name not in dead)
        assert cluster.clients[alive].describe().device == alive
