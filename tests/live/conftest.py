"""Small clusters of real node processes, and proof that they leave nothing behind."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

from controller.launch import Cluster, launch
from controller.topology.schema import Device, Endpoint, Link, Topology
from node.hardware.device import ComputeSpec, DeviceSpec, PortSpec, QueueSpec, TierSpec

MB = 1_000_000


def device_spec(
    kind: str = "gpu", *, flash: bool = False, tier_bytes: int = 256 << 20, issue: bool = False
) -> DeviceSpec:
    tiers = {"hbm": TierSpec("hbm", "dram", tier_bytes, 1e9, 1e9)}
    if flash:
        tiers["flash"] = TierSpec("flash", "flash", tier_bytes, 100 * MB, 50 * MB, page_bytes=4096)
    queues = {"stream": QueueSpec("stream", "compute"), "copy": QueueSpec("copy", "copy")}
    if issue:
        queues["issue"] = QueueSpec("issue", "issue", launch_s=1e-3)
    peaks = dict.fromkeys(("fp64", "fp32", "bf16", "fp16", "int8"), 1e9)
    return DeviceSpec(
        product=f"test_{kind}",
        kind=kind,
        description="for tests",
        tiers=tiers,
        computes={"vector": ComputeSpec("vector", peaks), "tensor": ComputeSpec("tensor", peaks)},
        ports={"pcie": PortSpec("pcie", 100 * MB, 100 * MB)},
        queues=queues,
    )


def topology(*devices: tuple[str, str, DeviceSpec]) -> Topology:
    """A star of (name, host, spec) around one switch."""
    made = {name: Device(name=name, group=name, index=0, host=host, spec=spec) for name, host, spec in devices}
    links = tuple(
        Link(f"{name}-root", Endpoint(name, "pcie"), Endpoint("root"), 100.0 * MB, 100.0 * MB, 0.0) for name in made
    )
    return Topology("test", "test", made, ("root",), links, digest="0" * 64)


def leftovers(root: Path, shared: set[str]) -> list[str]:
    """What a run may have forgotten: processes below this one, run directories, shared segments."""
    children = [child for child in psutil.Process().children(recursive=True) if not is_tracker(child)]
    found = [f"process {child.pid} {child.name()}" for child in children]
    if root.exists():
        found += [f"directory {path}" for path in root.iterdir() if path.name != ".lock"]
    fresh = sorted(set(os.listdir("/dev/shm")) - shared)
    return found + [f"segment {name}" for name in fresh if not mapped_by_a_stranger(name)]


def is_tracker(process: psutil.Process) -> bool:
    """Python's own resource tracker, which a process pool starts once and which ends with the test run."""
    try:
        return "multiprocessing.resource_tracker" in " ".join(process.cmdline())
    except psutil.NoSuchProcess:
        return True


def mapped_by_a_stranger(segment: str) -> bool:
    """Whether a living process that is not of this session maps a segment: then it is in use, and not ours."""
    ours = {os.getpid(), *(child.pid for child in psutil.Process().children(recursive=True))}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) not in ours:
            try:
                if f"/dev/shm/{segment}" in (entry / "maps").read_text():
                    return True
            except OSError:
                continue
    return False


@pytest.fixture(scope="session", autouse=True)
def runs_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Runs of the tests lie apart from those of the user; at the end none is left."""
    import shutil
    import tempfile

    folder = Path(tempfile.mkdtemp(prefix="wt-"))  # short: a socket path has little room
    before = os.environ.get("WINDTUNNEL_RUNS")
    os.environ["WINDTUNNEL_RUNS"] = str(folder)
    shared = set(os.listdir("/dev/shm"))
    yield folder
    for _ in range(50):  # a process that has been killed is there for a moment
        left = leftovers(folder, shared)
        if not left:
            break
        time.sleep(0.05)
    if before is None:
        del os.environ["WINDTUNNEL_RUNS"]
    else:
        os.environ["WINDTUNNEL_RUNS"] = before
    shutil.rmtree(folder, ignore_errors=True)
    assert not left, f"live tests left {left}"


@pytest.fixture(scope="session")
def twins() -> SimpleNamespace:
    """What tests build clusters from."""
    return SimpleNamespace(device_spec=device_spec, topology=topology, leftovers=leftovers)


@pytest.fixture(scope="module")
def pair() -> Iterator[Cluster]:
    """Two GPUs in one host, a drive in the same host and a GPU in another; no pacing."""
    declared = topology(
        ("a", "host0", device_spec()),
        ("b", "host0", device_spec(issue=True)),
        ("drive", "host0", device_spec("csd", flash=True)),
        ("far", "host1", device_spec()),
    )
    with launch(declared) as cluster:
        yield cluster


@pytest.fixture
def fresh(pair: Cluster) -> Callable[[str], str]:
    """Buffer names that no other test uses."""
    number = fresh_numbers
    number[0] += 1
    return lambda name: f"t{number[0]}/{name}"


fresh_numbers = [0]
