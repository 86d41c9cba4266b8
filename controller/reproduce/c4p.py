"""C4P's tables: all-reduces of several jobs at once, over ECMP and over allocated connections.

Hardware: hosts with NICs of two ports of 200 Gb/s to two leaves, eight uplinks of 200 Gb/s a leaf and port side, so
that nothing is oversubscribed; one GPU stands for the NIC of a host. A job is an all-reduce of two hosts in two leaf
pairs (each sends to the other), eight jobs at once; the single job is a ring over sixteen hosts, each hop across.
All figures of the paper are recalled (M): they are printed and counted nowhere. What a fluid model shows is the shape;
it overstates what collisions of ECMP cost, since a flow goes at the pace of its slower half.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache

from controller.execute.virtual import run_virtual
from controller.faults.schedule import parse_fault
from controller.faults.timeline import with_faults
from controller.plan.build import PlanBuilder
from controller.plan.ops import Buffer
from controller.program.run import Program, Run
from controller.reproduce.rows import PublishedRow, Results, Value
from controller.topology.loader import load_topology
from controller.topology.schema import Device, Endpoint, Link, Topology
from node.hardware.device import PortSpec

PORT_BYTES_PER_S = 25e9
"""200 Gb/s, of one port of a NIC and of an uplink."""
LINK_LATENCY_S = 500e-9
PORTS = ("left", "right")
HOSTS, SPINES = 8, 8
SIZE = 1 << 26
SEEDS = 8
"""Hashes of ECMP that its figures are the mean of."""


@cache
def dual_port(routing: str, seed: int = 0, failed: bool = False) -> Topology:
    """Two pairs of leaves; every host has one port on each leaf of its pair."""
    spec = next(iter(load_topology("dgx_h100").of_kind("gpu"))).spec
    spec = replace(spec, ports={port: PortSpec(port, PORT_BYTES_PER_S, PORT_BYTES_PER_S) for port in PORTS})
    devices: dict[str, Device] = {}
    links: list[Link] = []

    def join(name: str, a: Endpoint, b: Endpoint) -> None:
        links.append(Link(name, a, b, PORT_BYTES_PER_S, PORT_BYTES_PER_S, LINK_LATENCY_S))

    for rank in range(2 * HOSTS):
        devices[gpu(rank)] = Device(gpu(rank), "gpu", rank, f"host{rank:02}", spec)
        for port in PORTS:
            join(f"nic{rank:02}-{port}", Endpoint(gpu(rank), port), Endpoint(f"leaf{rank // HOSTS}-{port}"))
    leaves = [f"leaf{pair}-{port}" for pair in range(2) for port in PORTS]
    for leaf in leaves:
        for spine in range(SPINES):
            join(f"up-{leaf}-{spine}", Endpoint(leaf), Endpoint(f"spine{spine}"))
    switches = (*leaves, *(f"spine{spine}" for spine in range(SPINES)))
    options = {"routing": routing} | (
        {"routing.connections": "2", "routing.seed": str(seed)} if routing == "ecmp" else {}
    )
    made = Topology("dual_port", "c4p", devices, switches, tuple(links), options=options)
    return with_faults(made, [parse_fault("up-leaf0-left-3@0 s")] if failed else [])


def gpu(rank: int) -> str:
    """Name of a rank's device."""
    return f"gpu{rank:02}"


def eight_jobs() -> list[Sequence[tuple[int, int]]]:
    """Jobs of two hosts, one below each pair of leaves, which send to each other."""
    return [((rank, HOSTS + rank), (HOSTS + rank, rank)) for rank in range(HOSTS)]


def one_job() -> list[Sequence[tuple[int, int]]]:
    """A ring over all hosts, whose every hop crosses the spines."""
    order = [rank + HOSTS * side for rank in range(HOSTS) for side in (0, 1)]
    return [tuple(zip(order, [*order[1:], order[0]], strict=True))]


@cache
def bandwidths(
    jobs: Callable[[], list[Sequence[tuple[int, int]]]], routing: str, seed: int, failed: bool
) -> tuple[float, ...]:
    """Bytes per second that the slowest hop of each job gets [bytes/s]."""
    ends: dict[int, float] = {}

    def program(number: int, pairs: Sequence[tuple[int, int]]) -> Callable[[Run], Program]:
        def go(run: Run) -> Program:
            build = PlanBuilder(f"job {number}")
            for sender, receiver in pairs:
                source, target = (
                    Buffer(gpu(rank), "hbm", f"{side}{number}-{sender}", "int8", (SIZE,))
                    for rank, side in ((sender, "from"), (receiver, "to"))
                )
                run.place(source, written=True)
                run.place(target)
                build.transfer(source, target)
            done = yield run.submit(build.plan())
            ends[number] = done.end_at

        return go

    run_virtual(dual_port(routing, seed, failed), [program(*each) for each in enumerate(jobs())])
    latency_s = 4 * LINK_LATENCY_S
    return tuple(SIZE / (ends[number] - latency_s) for number in sorted(ends))


def mean_of(jobs: Callable[[], list[Sequence[tuple[int, int]]]], routing: str, failed: bool = False) -> float:
    """Mean over jobs, and for ECMP over its hashes [bytes/s]."""
    seeds = range(SEEDS) if routing == "ecmp" else range(1)
    found = [each for seed in seeds for each in bandwidths(jobs, routing, seed, failed)]
    return sum(found) / len(found)


def gain(jobs: Callable[[], list[Sequence[tuple[int, int]]]]) -> float:
    """What C4P brings over ECMP; 0 for nothing."""
    return mean_of(jobs, "c4p") / mean_of(jobs, "ecmp") - 1.0


def ceiling() -> float:
    """What is left after one of eight uplinks has failed, over what there was: the worst of eight jobs."""
    return min(bandwidths(eight_jobs, "c4p", 0, True)) / min(bandwidths(eight_jobs, "c4p", 0, False))


PARAMETERS, SEQUENCES, SEQUENCE, ACCUMULATION = 175e9, 1536, 2048, 16
TENSOR, STAGES, REPLICAS = 8, 8, 8
FLOP_PER_S, MFU = 990e12, 0.45


def step_gain() -> float:
    """What C4P brings a step of GPT-175B (TP 8, PP 8, 16 micro-batches) whose gradients are summed once.

    The batch of 1,536 sequences of 2,048 tokens is Megatron-LM's for this size, and 45 % of the peak is assumed; the
    all-reduce over data ranks is hidden behind nothing.
    """
    tokens = SEQUENCES * SEQUENCE / REPLICAS
    compute_s = 6.0 * PARAMETERS * tokens / (TENSOR * STAGES * FLOP_PER_S * MFU)
    compute_s *= (ACCUMULATION + STAGES - 1) / ACCUMULATION
    moved = 2.0 * PARAMETERS / (TENSOR * STAGES) * 2.0 * (REPLICAS - 1) / REPLICAS
    slow_s, fast_s = moved / mean_of(one_job, "ecmp"), moved / mean_of(one_job, "c4p")
    return (compute_s + slow_s) / (compute_s + fast_s) - 1.0


def rows() -> list[PublishedRow]:
    """C4P's rows: figures are recalled, and counted nowhere."""

    def row(
        row_: dict[str, str | int | float], quantity: str, published: Value, ours: Callable[[], Value]
    ) -> PublishedRow:
        def value(results: Results) -> Value:
            return ours()

        return PublishedRow("C4P", row_, quantity, published, "ratio", "M", value, ())

    return [
        row({"jobs": 1, "hosts": 16}, "bandwidth / ECMP's", 1.50, lambda: 1.0 + gain(one_job)),
        row({"jobs": 8, "hosts": "2_each"}, "bandwidth / ECMP's", 1.703, lambda: 1.0 + gain(eight_jobs)),
        row({"jobs": 8, "uplinks": "7_of_8"}, "bandwidth left", 7 / 8, ceiling),
        row({"job": "GPT-175B_TP8_PP8_GA16"}, "steps a second / ECMP's", 1.0, lambda: 1.0 + step_gain()),
    ]
