"""Every device, link, tier and host of small scenarios fails at and between every event of the virtual clock, for good
and for a while, dead and frozen: every run ends with an outcome, and what it says is true.

The instants are those at which anything starts or ends in the run without the fault, and the middles between them.
"""

from __future__ import annotations

import importlib.util
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from controller.collectives.on_values import collective
from controller.errors import Deadlock, DeviceUnreachable, LinkFailed
from controller.execute.trace import Trace
from controller.execute.virtual import run_virtual
from controller.faults.timeline import with_faults
from controller.offload.scratch import Scratch
from controller.plan.ops import Buffer
from controller.plan.script import Script
from controller.program.waits import wait_any
from controller.topology.fault import DEAD, FROZEN, Component, Fault
from controller.topology.schema import Device, Endpoint, Link, Topology
from node.hardware.device import ComputeSpec, DeviceSpec, PortSpec, QueueSpec, TierSpec

FEW, EVERY = 10, 400
"""Instants of a scenario in CI and by hand; where it has more, evenly spread ones."""
SEEDS = (0, 3, 7)
SPEC = DeviceSpec(
    "toy", "gpu", "", {"hbm": TierSpec("hbm", "dram", 1 << 30, 1e10, 1e10)},
    {"vector": ComputeSpec("vector", {"fp32": 1e9})}, {"nic": PortSpec("nic", 1e9, 1e9)},
    {"stream": QueueSpec("stream", "compute")},
)  # fmt: skip


def _drawn():
    spec = importlib.util.spec_from_file_location("drawn_of_sweep", Path(__file__).with_name("drawn.py"))
    module = importlib.util.module_from_spec(spec)
    sys.modules["drawn_of_sweep"] = module
    spec.loader.exec_module(module)
    return module


def submitted(run, plan, listens: bool):
    """Runs a plan; whether it ended. A program that listens is told of a loss, before it submits or while it waits."""
    if not listens:
        yield run.submit(plan)
        return True
    gone = run.faults()
    if gone.is_set:
        return False
    try:
        ticket = run.submit(plan)
    except DeviceUnreachable:  # another program was told
        return False
    happened = yield wait_any(ticket, gone)
    if ticket in happened:
        return True
    run.cancel(ticket)
    return False


def ring(count: int = 4):
    """An all-reduce of a ring over one switch per pair, with a second way round through another switch."""
    devices = {f"g{index}": Device(f"g{index}", "g", index, f"h{index // 2}", SPEC) for index in range(count)}
    links = []
    for index in range(count):
        links.append(Link(f"a{index}", Endpoint(f"g{index}", "nic"), Endpoint(f"leaf{index // 2}"), 1e9, 1e9, 1e-6))
    for leaf in range(count // 2):
        for spine in range(2):
            links.append(Link(f"up{leaf}-{spine}", Endpoint(f"leaf{leaf}"), Endpoint(f"spine{spine}"), 1e9, 1e9, 1e-6))
    switches = ("leaf0", "leaf1", "spine0", "spine1")
    topology = Topology("ring", "test", devices, switches, tuple(links), digest="0" * 64)
    buffers = [Buffer(name, "hbm", "x", "fp32", (1 << 16,)) for name in devices]

    def program(run, listens: bool):
        scratch = Scratch("staging")
        s = Script("all-reduce", scratch)
        collective(s, "all_reduce", buffers, in_place=True)
        plan = s.plan()
        scratch.place(run)
        for buffer in buffers:
            run.place(buffer, written=True)
        yield from submitted(run, plan, listens)

    return topology, [program]


def drawn(seed: int):
    simulation = _drawn().draw(seed)

    def made(number: int):
        def program(run, listens: bool):
            if number == 0:
                for buffer in simulation.placed:
                    run.place(buffer, written=True)
            for _ in range(simulation.times):
                if not (yield from submitted(run, simulation.plan, listens)):
                    return

        return program

    return simulation.topology, [made(number) for number in range(simulation.programs)]


def instants_of(topology: Topology, programs, most: int) -> list[float]:
    """Every event of the run without a fault, and the middles between them; few enough for CI."""
    trace = Trace()
    outcome = run_virtual(topology, [lambda run, each=each: each(run, False) for each in programs], trace=trace)
    edges = sorted({0.0, outcome.time_s, *(at for span in trace.spans for at in (span.start_at, span.end_at))})
    every = sorted({*edges, *((a + b) / 2 for a, b in pairwise(edges))})
    chosen = np.unique(np.linspace(0, len(every) - 1, min(len(every), most)).round().astype(int))
    return [every[index] for index in chosen]


def targets_of(topology: Topology) -> list[Component]:
    found = [Component("device", name) for name in topology.devices]
    found += [Component("link", link.name) for link in topology.links]
    found += [Component("switch", name) for name in topology.switches]
    return found + [Component("host", host) for host in dict.fromkeys(d.host for d in topology.devices.values())]


def outcome_of(topology: Topology, programs, fault: Fault, listens: bool) -> str:
    """How a run with a fault ends; anything but an outcome raises."""
    declared = with_faults(topology, [fault])
    try:
        outcome = run_virtual(declared, [lambda run, each=each: each(run, listens) for each in programs])
    except DeviceUnreachable as error:
        assert error.device and error.device in str(error)
        return f"unreachable {error.device}"
    except LinkFailed as error:
        assert error.links
        return f"link {','.join(error.links)}"
    assert outcome.ok
    return f"{outcome.time_s!r}"


SCENARIOS = {"ring": ring, **{f"drawn {seed}": (lambda seed=seed: drawn(seed)) for seed in SEEDS}}


@pytest.mark.parametrize("name", ["ring", "drawn 7"])
def test_every_run_ends_with_an_outcome(name: str) -> None:
    sweep(name, FEW)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("name", SCENARIOS)
def test_every_run_ends_with_an_outcome_at_every_event(name: str) -> None:
    sweep(name, EVERY)


def sweep(name: str, most: int) -> None:
    """Lets everything fail, and checks every outcome."""
    topology, programs = SCENARIOS[name]()
    plain = run_virtual(topology, [lambda run, each=each: each(run, False) for each in programs])
    ended = {"ok": 0, "unreachable": 0, "link": 0}
    for target in targets_of(topology):
        for at_s in instants_of(topology, programs, most):
            kinds = (DEAD, FROZEN) if target.kind in ("device", "host") else (DEAD,)
            for kind in kinds:
                for for_s in (None, plain.time_s or 1.0):
                    fault = Fault(target, kind, 1.0, at_s, for_s)
                    try:
                        said = outcome_of(topology, programs, fault, False)
                    except Deadlock as error:
                        raise AssertionError(f"{fault} hangs: {error}") from error
                    if kind == FROZEN and for_s is not None:
                        assert not said.startswith("unreachable") and float(said) >= plain.time_s * (1 - 1e-9)
                    if said.startswith("unreachable"):
                        hosts = {d.name for d in topology.devices.values() if target.name in (d.name, d.host)}
                        assert said.split()[1] in hosts, "another device is blamed"
                        listened = outcome_of(topology, programs, fault, True)
                        assert not listened.startswith("unreachable"), "the program that listens goes on"
                    ended[said.split()[0] if said[0].isalpha() else "ok"] += 1
    assert ended["ok"] and ended["unreachable"], ended


def test_the_same_fault_gives_the_same_outcome() -> None:
    topology, programs = ring()
    fault = Fault(Component("device", "g1"), DEAD, 1.0, 1e-4)
    assert len({outcome_of(topology, programs, fault, False) for _ in range(2)}) == 1
