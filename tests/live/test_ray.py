"""Nodes and comparisons on a Ray cluster of two nodes, both on this machine: only Ray tells them apart."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import psutil
import pytest

from controller.errors import BadWorkload
from controller.experiment.run import run_experiment
from controller.experiment.run_spec import RunSpec
from controller.launch.ray_session import NoCluster, ray_session
from controller.launch.run_directory import remove_stale

pytestmark = [
    pytest.mark.live,
    pytest.mark.skipif(find_spec("ray") is None, reason="needs the optional extra `ray`"),
    pytest.mark.timeout(600),
]
HERE = Path(__file__).parent
TWO_CHASSIS = str(HERE / "two_chassis.yaml")
END_S = 20.0
DRIVER = """
import sys, time
from controller.errors import PreflightFailed
from controller.launch.ray_placement import launch_on_ray
from controller.topology.loader import load_topology
{first}
with launch_on_ray(load_topology(sys.argv[2]), sys.argv[1]) as cluster:
    print(*cluster.processes.values(), flush=True)
    {then}
"""


@dataclass
class RayCluster:
    """Two Ray nodes; `runs` is where nodes of windtunnel have their directories."""

    address: str
    runs: Path
    environment: dict[str, str]

    def windtunnel(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "controller.cli.main", *arguments]
        return subprocess.run(command, env=self.environment, capture_output=True, text=True, timeout=300)

    def driver(self, then: str, first: str = "") -> subprocess.Popen[str]:
        """A program of a user's own that has nodes on the cluster."""
        return subprocess.Popen(
            [sys.executable, "-c", DRIVER.format(then=then, first=first), self.address, TWO_CHASSIS],
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            # Tests may run in the background of a shell, which has its children ignore SIGINT.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )

    def left(self) -> list[str]:
        """What runs have forgotten: directories, and processes that have one."""
        found = [str(path) for path in self.runs.iterdir() if path.name != ".lock"]
        for process in psutil.process_iter(["cmdline"]):
            if any(str(self.runs) in part for part in process.info["cmdline"] or ()):
                found.append(f"process {process.pid} {process.info['cmdline']}")
        return found


@pytest.fixture(scope="module")
def ray_cluster() -> Iterator[RayCluster]:
    runs = Path(tempfile.mkdtemp(prefix="wt-"))
    patience = {"RAY_raylet_start_wait_time_s": "120", "RAY_worker_register_timeout_seconds": "240"}
    environment = {**os.environ, **patience, "WINDTUNNEL_RUNS": str(runs), "RAY_USAGE_STATS_ENABLED": "0"}
    with ExitStack() as stack:
        for last in (False, False, True):  # Ray gives its own processes 30 s, which a busy machine may exceed
            try:
                address = stack.enter_context(_two_ray_nodes(environment))
                break
            except ChildProcessError:
                if last:
                    raise
        yield RayCluster(address, runs, environment)
    shutil.rmtree(runs)


@contextmanager
def _two_ray_nodes(environment: dict[str, str]) -> Iterator[str]:
    """The address of a fresh cluster, in a process of its own."""
    with tempfile.TemporaryFile("w+") as log:
        process = subprocess.Popen(
            [sys.executable, str(HERE / "ray_cluster.py")],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            start_new_session=True,
        )
        assert process.stdin is not None and process.stdout is not None
        try:
            said = next((line for line in process.stdout if line.startswith("address ")), None)
            if said is None:
                log.seek(0)
                raise ChildProcessError(f"the Ray cluster did not start: {log.read()[-2000:]}")
            yield said.split()[1]
        finally:
            process.stdin.close()
            process.stdout.close()
            process.wait(60)


def eventually(holds: Callable[[], bool], within_s: float = END_S) -> bool:
    deadline = time.monotonic() + within_s
    while not holds():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.1)
    return True


def test_a_paced_generation_on_two_machines_has_the_right_tokens_and_leaves_nothing(ray_cluster: RayCluster) -> None:
    workload = ("--model", "tiny-opt", "--batch", "2", "--prompt-tokens", "4", "--output-tokens", "3")
    where = ("--topology", TWO_CHASSIS, "--live", "--ray", ray_cluster.address, "--pace", "3000")
    answer = ray_cluster.windtunnel("run", "instinfer", *workload, *where, "--json")
    assert answer.returncode == 0, answer.stderr
    found = json.loads(answer.stdout)
    assert found["tokens_equal"] == found["tokens_compared"] == 6
    assert list(found["machines"]) == ["compute", "storage"]
    assert len(set(found["machines"].values())) == 2, "each chassis has a Ray node of its own"
    assert found["paced_s"] >= found["time_s"] * (1 - 1e-9)
    assert 0 < found["smallest_dilation"] < 3000
    assert not ray_cluster.left()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_nodes_end_with_their_driver(ray_cluster: RayCluster, number: signal.Signals) -> None:
    driver = ray_cluster.driver("time.sleep(600)")
    assert driver.stdout is not None
    processes = list(map(int, driver.stdout.readline().split()))
    assert len(set(processes)) == 4 and all(map(psutil.pid_exists, processes))
    servers = {psutil.Process(process).ppid() for process in processes}
    assert len(servers) == 2, "a fork server on each Ray node"
    driver.send_signal(number)
    driver.communicate(timeout=60)
    assert eventually(lambda: not any(map(psutil.pid_exists, (*processes, *servers))))
    # Ray may kill a fork server with its actor: what it could not remove, the next run on that machine does.
    assert eventually(lambda: bool(remove_stale(ray_cluster.runs)) or not ray_cluster.left()), ray_cluster.left()
    assert not ray_cluster.left()


def test_a_small_machine_and_a_dead_node_are_named(ray_cluster: RayCluster) -> None:
    driver = ray_cluster.driver("""
    import os, signal
    os.kill(cluster.processes["csd1"], signal.SIGKILL)
    for _ in range(300):
        cluster.check()
        time.sleep(0.1)
""", first="""
try:
    with launch_on_ray(load_topology(sys.argv[2]), sys.argv[1], needs={("csd0", "dram"): 1 << 50}):
        pass
except PreflightFailed as error:
    print(error)
""")  # fmt: skip
    said, errors = driver.communicate(timeout=300)
    assert said.startswith("on Ray node") and "for 2 nodes" in said
    assert driver.returncode == 1
    assert "DeviceUnreachable: csd1 on Ray node" in errors and "SIGKILL" in errors
    assert eventually(lambda: not ray_cluster.left()), ray_cluster.left()


def test_a_comparison_has_the_same_rows_as_on_processes(ray_cluster: RayCluster) -> None:
    asked = (
        "compare", "--model", "tiny-opt", "--prompt-tokens", "8", "--output-tokens", "3", "--json",
        "--candidate", "gpu_only", "--candidate", "drive=instinfer", "--candidate", "none=cxl_kv@a6000_ssd",
    )  # fmt: skip
    here = ray_cluster.windtunnel(*asked)
    there = ray_cluster.windtunnel(*asked, "--ray", ray_cluster.address)
    assert there.returncode == 0, there.stderr
    assert [row["name"] for row in json.loads(here.stdout)] == ["gpu_only", "drive", "none"]
    assert there.stdout == here.stdout


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(BadWorkload, match="add --live"):
        run_experiment(RunSpec("instinfer", "tiny-opt", ray="auto"))
    for address in ("127.0.0.1:1", "ray://127.0.0.1:1", "127.0.0.1:99999"):
        with pytest.raises(NoCluster, match="nothing listens"), ray_session(address):
            pass
