"""Everything of one simulation from one seed: hardware that nobody would build, a plan, and where its buffers lie."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from controller.plan.build import PlanBuilder
from controller.plan.ops import Alloc, Buffer, Plan
from controller.topology.schema import Device, Endpoint, Link, Topology
from node.hardware.device import ComputeSpec, DeviceSpec, PortSpec, QueueSpec, TierSpec

KINDS = ("gpu", "cpu", "csd", "cxl", "npu")
ROWS, COLUMNS = 32, 1024


@dataclass(frozen=True)
class Simulation:
    """What one seed gives; `programs` is how many programs submit the plan, `times` how often each does."""

    seed: int
    topology: Topology
    plan: Plan
    placed: tuple[Buffer, ...]
    programs: int
    times: int


def draw(seed: int) -> Simulation:
    """The simulation of a seed."""
    random = np.random.default_rng(seed)
    topology = _topology(random)
    buffers = [
        Buffer(device.name, tier, f"b{index}", "fp32", (ROWS, COLUMNS))
        for device in topology.devices.values()
        for tier in device.spec.tiers
        for index in range(2)
    ]
    plan = _plan(random, topology, buffers)
    # Two programs at once may not both allocate one buffer.
    alone = any(isinstance(op, Alloc) for op in plan.ops)
    programs = 1 if alone else int(random.integers(1, 3))
    return Simulation(seed, topology, plan, tuple(buffers), programs, int(random.integers(1, 3)))


def _rate(random: np.random.Generator) -> float:
    return float(10 ** random.uniform(8, 12))


def _duration(random: np.random.Generator) -> float:
    return float(random.choice([0.0, 1e-6, 1e-4]))


def _spec(random: np.random.Generator, kind: str) -> DeviceSpec:
    def tier(name: str) -> TierSpec:
        read, write = _rate(random), _rate(random)
        shape = random.integers(0, 3)
        return TierSpec(
            name, "dram", 1 << 30, read, write, total_bytes_per_s=max(read, write) if shape == 1 else None,
            simplex=bool(shape == 2), read_latency_s=_duration(random), write_latency_s=_duration(random),
        )  # fmt: skip

    computes = bool(random.integers(0, 4))
    queues = {"copy": QueueSpec("copy", "copy", int(random.integers(1, 3)))}
    if computes:
        for name in ("main", "side")[: random.integers(1, 3)]:
            queues[name] = QueueSpec(name, "compute", int(random.integers(1, 3)), _duration(random))
        if random.integers(0, 2):
            queues["issue"] = QueueSpec("issue", "issue", 1, 1e-5)
    return DeviceSpec(
        product=f"drawn_{kind}",
        kind=kind,
        description="drawn from a seed",
        tiers={name: tier(name) for name in ("fast", "large")[: random.integers(1, 3)]},
        computes={"vector": ComputeSpec("vector", {"fp32": _rate(random)})} if computes else {},
        ports={
            "port": PortSpec("port", _rate(random), _rate(random), simplex=bool(random.integers(0, 2)),
                             latency_s=_duration(random)),
        },
        queues=queues,
    )  # fmt: skip


def _topology(random: np.random.Generator) -> Topology:
    """Devices on two switches, which a cable joins."""
    devices: dict[str, Device] = {}
    links: list[Link] = []
    for index in range(int(random.integers(2, 6))):
        kind = str(random.choice(KINDS))
        name = f"{kind}{index}"
        devices[name] = Device(name, kind, index, "host0", _spec(random, kind))
        switch = str(random.choice(["left", "right"]))
        links.append(_link(random, f"{name}.port-{switch}", Endpoint(name, "port"), Endpoint(switch)))
    links.append(_link(random, "cable", Endpoint("left"), Endpoint("right")))
    return Topology("drawn", "drawn", devices, ("left", "right"), tuple(links), digest="0" * 64)


def _link(random: np.random.Generator, name: str, a: Endpoint, b: Endpoint) -> Link:
    return Link(name, a, b, _rate(random), _rate(random), _duration(random))


def _plan(random: np.random.Generator, topology: Topology, placed: list[Buffer]) -> Plan:
    """Ops on parts of buffers, some of which the plan allocates and frees itself; the label of op i is ``op i``."""
    build, own = PlanBuilder("drawn"), {}
    computing = [device for device in topology.devices.values() if device.spec.compute_queue is not None]

    def label() -> str:
        return f"op {build.count}"

    def part(rows: int, device: str = ""):
        choice = [buffer for buffer in (*placed, *own) if device in ("", buffer.device)]
        buffer = choice[random.integers(len(choice))]
        start = int(random.integers(0, ROWS - rows + 1))
        return buffer.rows(start, start + rows)

    def any_of(names) -> str:
        names = list(names)
        return str(names[random.integers(len(names))])

    for number in range(int(random.integers(1, 40))):
        rows = int(random.choice([1, 7, ROWS]))
        what = random.integers(0, 10)
        if what == 0:
            whole = placed[random.integers(len(placed))]
            made = Buffer(whole.device, whole.tier, f"own{number}", "fp32", (ROWS, COLUMNS))
            build.alloc(made)
            build.transfer(whole, made, label=label())
            own[made] = None
        elif what == 1 and own:
            gone = list(own)[random.integers(len(own))]
            del own[gone]
            build.free(gone)
        elif what <= 5 and computing:
            device = computing[random.integers(len(computing))]
            queue = any_of([name for name, queue in device.spec.queues.items() if queue.kind == "compute"] + [""])
            if random.integers(0, 4):
                parts = [part(rows, device.name) for _ in range(3)]
                build.kernel("add", device.name, parts[:2], parts[2:], queue=queue, label=label())
            else:
                seconds = float(random.choice([0.0, 1e-5, 1e-3]))
                build.kernel("delay", device.name, [], [], queue=queue, seconds=seconds, label=label())
        else:
            targets = [part(rows) for _ in range(random.integers(1, 3))]
            limit = float(random.choice([0.0, 0.0, 1e9]))
            build.transfer(part(rows), targets, queue=any_of(["", "copy"]), rate_limit_bytes_per_s=limit, label=label())
    for left in own:
        build.free(left)
    return build.plan()
