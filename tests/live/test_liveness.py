"""Nodes that stop answering, controllers that stand still, and more open calls than a node serves."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from threading import Event, Timer

import grpc
import numpy as np
import pytest

from controller.errors import DeviceUnreachable, StartFailed, UserError
from controller.execute.live import run_live
from controller.launch import cluster as cluster_module
from controller.launch import launch
from controller.plan.build import PlanBuilder
from controller.plan.ops import Buffer
from node.client import LaunchKernel, NodeClient, Operand
from node.errors import TooManyCalls
from node.rpc import node_pb2

pytestmark = pytest.mark.live


def pair_of(twins):
    return twins.topology(("gpu", "host0", twins.device_spec()), ("csd0", "host0", twins.device_spec("csd")))


def counting(steps: int, at: int, act):
    """Adds up in one node and copies to the other, `steps` times; calls `act` before step `at`."""
    one, total = (Buffer("gpu", "hbm", name, "fp32", (1024,)) for name in ("one", "total"))
    there = Buffer("csd0", "hbm", "there", "fp32", (1024,))
    build = PlanBuilder("step")
    build.kernel("add", "gpu", [one, total], [total])
    build.transfer(total, there)
    plan = build.plan()

    def program(run):
        run.place(one, np.ones(1024, np.float32))
        run.place(total, np.zeros(1024, np.float32))
        run.place(there)
        for step in range(steps):
            if step == at:
                act()
            yield run.submit(plan)
        assert ((yield run.fetch(there)) == steps).all()

    return program


def test_a_stopped_node_is_named(twins) -> None:
    declared = pair_of(twins)
    with launch(declared, node_timeout_s=1.0) as cluster:
        stopped = cluster.processes["csd0"]
        program = counting(3, 1, lambda: os.kill(stopped, signal.SIGSTOP))
        with pytest.raises(DeviceUnreachable, match=r"csd0 has not answered for 1 s"):
            run_live(declared, [program], cluster)
        with pytest.raises(DeviceUnreachable, match="csd0"):
            cluster.clients["csd0"].describe()
        with pytest.raises(DeviceUnreachable, match="csd0"):
            cluster.clients["csd0"].submit([], ready_at=0.0)


def test_a_call_that_waits_for_a_stopped_node_ends(twins) -> None:
    declared = pair_of(twins)
    with launch(declared, node_timeout_s=1.0) as cluster:
        cluster.clients["csd0"].allocate("x", "hbm", "fp32", (4,))
        next(iter(cluster.clients["csd0"].heartbeats()))  # the controller has heard the first one too
        os.kill(cluster.processes["csd0"], signal.SIGSTOP)
        with pytest.raises(DeviceUnreachable, match="csd0"):
            cluster.clients["csd0"].read("x")  # its own deadline is a minute


def test_a_node_that_goes_on_in_time_is_as_if_nothing_had_been(twins) -> None:
    declared = pair_of(twins)
    with launch(declared, node_timeout_s=6.0) as cluster:
        process = cluster.processes["csd0"]

        def pause() -> None:
            os.kill(process, signal.SIGSTOP)
            Timer(1.5, os.kill, (process, signal.SIGCONT)).start()

        assert run_live(declared, [counting(3, 1, pause)], cluster).ok


def test_time_in_which_the_controller_stood_still_does_not_count(twins, tmp_path) -> None:
    script = f"""
import importlib.util, sys
sys.path[:0] = {sys.path!r}
spec = importlib.util.spec_from_file_location("liveness", {__file__!r})
liveness = importlib.util.module_from_spec(spec); spec.loader.exec_module(liveness)
spec = importlib.util.spec_from_file_location("twins", {str(os.path.join(os.path.dirname(__file__), "conftest.py"))!r})
twins = importlib.util.module_from_spec(spec); spec.loader.exec_module(twins)
declared = liveness.pair_of(twins)
with liveness.launch(declared, node_timeout_s=1.0) as cluster:
    def stand():
        print("standing", flush=True)
        sys.stdin.readline()
    assert liveness.run_live(declared, [liveness.counting(3, 1, stand)], cluster).ok
print("ended well")
"""
    child = subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert child.stdin is not None and child.stdout is not None
    assert child.stdout.readline() == "standing\n"
    child.send_signal(signal.SIGSTOP)
    Event().wait(3.0)  # three times what a node may be silent
    child.send_signal(signal.SIGCONT)
    said, _ = child.communicate("go on\n", timeout=60)
    assert said == "ended well\n"


def test_a_node_that_dies_before_its_health_check_ends_the_start_at_once(twins, monkeypatch) -> None:
    asked = NodeClient.is_serving

    def dying(client, timeout_s):
        if client.device == "csd0":
            os.kill(client.describe().process, signal.SIGSTOP)  # as if it hung on the way, and died of it
            Timer(0.5, os.kill, (client_process[0], signal.SIGKILL)).start()
        return asked(client, timeout_s)

    client_process: list[int] = []
    opened = cluster_module.Cluster.open

    def remember(cluster, *args):
        client_process.append(cluster.processes["csd0"])
        return opened(cluster, *args)

    monkeypatch.setattr(cluster_module.Cluster, "open", remember)
    monkeypatch.setattr(NodeClient, "is_serving", dying)
    with pytest.raises((DeviceUnreachable, StartFailed), match=r"csd0 killed by signal 9"), launch(pair_of(twins)):
        pass


def test_a_timeout_that_cannot_be_meant_is_refused(twins) -> None:
    for timeout_s in (0.0, 0.3, 1e6, float("nan")):
        with pytest.raises(UserError, match="node timeout"), launch(pair_of(twins), node_timeout_s=timeout_s):
            pass


def test_many_open_calls_do_not_make_a_node_deaf(twins) -> None:
    with launch(twins.topology(("gpu", "host0", twins.device_spec()))) as cluster:
        client = cluster.clients["gpu"]
        gates = [Event() for _ in range(600)]

        def hold(gate):
            gate.wait(60)
            return
            yield

        streams = [client.stub.Stream(hold(gate), timeout=60) for gate in gates]
        ended = [stream for stream in streams if _refused(stream, client)]
        assert len(ended) >= 600 - 64
        assert client.describe().device == "gpu"
        for gate in gates:
            gate.set()
        for stream in streams:
            stream.cancel()
        whole = Operand("x", 0, (4,))
        client.allocate("x", "hbm", "fp32", (4,))
        done = None
        for _ in range(100):  # the node hears of the cancelled ones a moment later
            try:
                done = client.submit([LaunchKernel(1, "add", (whole, whole), (whole,))], ready_at=0.0).result(10)
                break
            except TooManyCalls:
                Event().wait(0.1)
        assert done is not None and not done[0].error


def _refused(stream: grpc.Call, client: NodeClient) -> bool:
    """Whether a stream ended with the typed refusal; those that are open are not waited for."""
    if not stream.is_active() or Event().wait(0.002) or not stream.is_active():
        assert isinstance(client.error_of(stream), TooManyCalls)
        return True
    return False


def test_a_wait_that_nobody_wants_any_more_gives_its_thread_back(twins) -> None:
    with launch(twins.topology(("gpu", "host0", twins.device_spec()))) as cluster:
        client = cluster.clients["gpu"]
        request = node_pb2.WaitRequest(id=[77], timeout_s=500.0)
        for _ in range(3):
            calls = [client.stub.Wait.future(request, timeout=60) for _ in range(128)]
            with ThreadPoolExecutor(1) as pool:
                pool.submit(client.describe).result(30)
            for call in calls:
                call.cancel()
            for _ in range(100):
                probe = client.stub.Wait.future(request, timeout=0.3)
                if probe.code() != grpc.StatusCode.RESOURCE_EXHAUSTED:
                    break
                Event().wait(0.1)
            assert probe.code() == grpc.StatusCode.DEADLINE_EXCEEDED
