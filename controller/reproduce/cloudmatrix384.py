"""CloudMatrix384: point-to-point transfers on its UB plane, and expert-parallel dispatch and combine.

Source: arXiv 2506.12708v2, tables 1 and 7; the RDMA figures of section 3; DeepEP's first README for the H800 columns of
table 7. Decoding, prompts and products in int8 are in `cloudmatrix384_steps`.

Table 1 is what the declared fabric is made of: the rows inside of a node, and the latency that a write between nodes
adds, are its constants and marked calibration; what it says about every other pair follows.

Dispatch and combine are plans on the declared fabric: 128 tokens a rank go to 8 experts each, evenly over the ranks, as
messages of 7.5 KiB (INT8 and a scale) and 14 KiB (BF16). What does not depend on the number of ranks (quantising, a
barrier inside of a die, assembling or summing what has arrived) is one fixed time an operator, set from its EP 8 row.
``fixed`` sends the data alone; ``per_peer`` adds what section 4.2.1 describes: after all its data a die tells every
peer how many tokens it sent, each of its 48 vector cores one peer after the other, in the time that table 1 gives for a
write; a combine adds to a counter at the receiver behind every block instead. No cost of that kind is fitted.

The H800 columns are DeepEP's first kernels, which send everything over RDMA, inside of a host too; DeepEP adds no
published cost per peer, so they have the fixed time alone.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache, partial

from controller.collectives.all_to_all_direct import block, direct
from controller.collectives.call import Call
from controller.collectives.exchange import Exchange, part
from controller.collectives.group import first_ranks
from controller.collectives.measure.calls import MeasuredCall, measure, plan_of
from controller.collectives.protocol import Protocol, as_seen, with_start
from controller.execute.virtual import run_virtual
from controller.offload.die_decode import COMBINE_S, DISPATCH_S
from controller.offload.die_group import FLAG_BYTES, VECTOR_CORES
from controller.offload.die_layers import MESSAGE_BYTES
from controller.plan.build import PlanBuilder
from controller.plan.ops import Buffer
from controller.program.run import Program, Run
from controller.program.waits import Completion
from controller.reproduce.cloudmatrix384_steps import step_rows
from controller.reproduce.rows import Paper, PublishedRow, identities
from controller.topology.loader import load_topology

TOKENS, EXPERTS_PER_TOKEN = 128, 8
EP_DEGREES = (8, 32, 128)
LARGE_BYTES = 1 << 28

WITHIN = 0.25
CLOSER = 0.15
PAIRS_WITHIN = 0.10
PLANES_WITHIN = 0.01

UB_DOWN = "link.npu.ub-ub_l1.failed=true"
NVLINK_DOWN = "link.gpu.nvlink-nvswitch.failed=true"


@dataclass(frozen=True, slots=True)
class Operator:
    """Dispatch or combine of one system.

    Attributes:
        message_bytes: of one token to one expert [bytes].
        flags: ``per_peer`` where each die tells each peer after all its data, ``per_block`` behind every block.
        fixed_us: by variant, what does not depend on the number of ranks [us]; set from the EP 8 row.
        published_us: by EP degree [us].
    """

    message_bytes: int
    flags: str
    fixed_us: Mapping[str, float]
    published_us: Mapping[int, float]


OPERATORS: Mapping[tuple[str, str], Operator] = {
    ("cann", "dispatch"): Operator(
        MESSAGE_BYTES, "per_peer", {"fixed": 71.65, "per_peer": DISPATCH_S * 1e6}, {8: 116, 32: 133, 128: 152}
    ),
    ("cann", "combine"): Operator(
        14_336, "per_block", {"fixed": 36.33, "per_peer": COMBINE_S * 1e6}, {8: 118, 32: 146, 128: 150}
    ),
    ("deepep", "dispatch"): Operator(7_392, "", {"fixed": 27.84}, {8: 163, 32: 182, 128: 192}),
    ("deepep", "combine"): Operator(14_336, "", {"fixed": 58.4}, {8: 318, 32: 350, 128: 369}),
}  # fmt: skip

SYSTEMS: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "cann": ("cloudmatrix384", ()),
    "deepep": ("h800_rail", (NVLINK_DOWN, "fabric.spines=1", "fabric.oversubscription=1")),
}
"""Topology and overrides that each system runs on; one spine as wide as all of them is their even use."""


def operator_time_s(system: str, name: str, ep: int, variant: str, fixed_us: float | None = None) -> float:
    """Time of one dispatch or combine on the declared fabric [s].

    Args:
        system: cann or deepep.
        name: dispatch or combine.
        ep: number of ranks.
        variant: fixed or per_peer.
        fixed_us: instead of the operator's own [us].
    """
    operator = OPERATORS[system, name]
    source, overrides = SYSTEMS[system]
    topology = load_topology(source, overrides)
    group = first_ranks(topology, ep)
    call = Call("all_to_all", group, TOKENS * EXPERTS_PER_TOKEN * operator.message_bytes, "int8")
    plan = plan_of(call, partial(with_flags, operator.flags) if variant == "per_peer" else direct, variant)
    start_us = operator.fixed_us[variant] if fixed_us is None else fixed_us
    # One fused kernel: nothing inside of it is launched, and the fabric alone says what a hop and a byte cost.
    fused = Protocol("fused", start_us * 1e-6, hop_s=0.0, rate_bytes_per_s=math.inf)
    entry = MeasuredCall(call, variant, fused.name, with_start(plan, group, fused))
    outcome = measure(as_seen(topology, group, fused), entry)
    assert entry.time_s is not None, outcome.ended
    return entry.time_s


def with_flags(flags: str, exchange: Exchange) -> None:
    """Everybody to everybody, and what tells the receivers that it has arrived.

    Args:
        flags: ``per_peer`` or ``per_block``, see `Operator`.
        exchange: an all-to-all.
    """
    size = exchange.world_size
    sent: dict[int, list[int]] = {rank: [] for rank in range(size)}
    for rank in range(size):
        exchange.copy_own(*block(exchange, rank, rank))
    for distance in range(1, size):
        for rank in range(size):
            source, destination = block(exchange, rank, (rank + distance) % size)
            sent[rank].append(exchange.send(source, destination, "block"))
    for rank in range(size):
        barrier = exchange.emitter.kernel(
            "delay", exchange.group.devices[rank], [], [], label="barrier", after=sent[rank], seconds=0.0
        )
        told = part(exchange.inputs[rank], 0, FLAG_BYTES)
        flags_of_core: list[int] = []
        for turn in range(size - 1):
            peer = (rank + 1 + turn) % size
            heard = exchange.scratch(peer, f"flag_of_{rank}", FLAG_BYTES)
            if flags == "per_block":
                after = [sent[rank][turn]]
            else:
                after = [barrier if turn < VECTOR_CORES else flags_of_core[turn - VECTOR_CORES]]
            flags_of_core.append(exchange.send(told, heard, "flag", after=after))


@lru_cache(maxsize=64)
def pair_time_s(destination: str, size: int, overrides: tuple[str, ...] = (), source: str = "cloudmatrix384") -> float:
    """Time of one transfer from the first die [s].

    Args:
        destination: device.
        size: [bytes].
        overrides: ``--set`` texts.
        source: the topology.
    """
    topology = load_topology(source, overrides)
    ends = [
        Buffer(name, next(iter(topology.devices[name].spec.tiers)), "data", "int8", (size,))
        for name in ("npu0", destination)
    ]
    took: list[float] = []

    def go(run: Run) -> Program:
        build = PlanBuilder("pair")
        run.place(ends[0], written=True)
        run.place(ends[1], written=False)
        build.transfer(ends[0], ends[1])
        ended: Completion = yield run.submit(build.plan())
        took.append(ended.end_at - ended.submitted_at)

    outcome = run_virtual(topology, [go])
    assert outcome.ok, outcome.ended
    return took[0]


READ_NPU = ("link.npu.ub-ub_l1.bandwidth=167 GB/s", "link.npu.ub-ub_l1.latency=600 ns")
READ_CPU = (
    "link.npu.ub-ub_l1.bandwidth=167 GB/s",
    "link.npu.ub-ub_l1.latency=600 ns",
    "link.cpu.ub-ub_l1.bandwidth=151 GB/s",
    "link.cpu.ub-ub_l1.latency=400 ns",
)

PAIRS: Mapping[tuple[str, str], tuple[tuple[str, ...], tuple[float, float], tuple[float, float]]] = {
    ("npu", "read"): (READ_NPU, (167, 164), (1.2, 1.9)),
    ("npu", "write"): ((), (137, 135), (1.3, 2.1)),
    ("cpu", "read"): (READ_CPU, (151, 147), (1.0, 1.7)),
    ("cpu", "write"): ((), (110, 107), (1.1, 1.9)),
}
"""Table 1: (overrides, bandwidth intra and inter [GB/s], latency of 512 B intra and inter [us]) by pair and operation.
The overrides of a read are its own rows inside of a node; the fabric is declared with those of a write."""

NEAR = {"npu": "npu2", "cpu": "cpu0"}
FAR = {"npu": "npu16", "cpu": "cpu4"}


def pair_rate(destination: str, overrides: tuple[str, ...] = (), topology: str = "cloudmatrix384") -> float:
    """What one die reaches with a large transfer [GB/s]."""
    return LARGE_BYTES / pair_time_s(destination, LARGE_BYTES, overrides, topology) / 1e9


def pair_latency(destination: str, overrides: tuple[str, ...] = ()) -> float:
    """How long 512 B take [us]."""
    return pair_time_s(destination, FLAG_BYTES, overrides) * 1e6


def operator_time_us(system: str, name: str, ep: int, variant: str) -> float:
    """Time of one operator, as `operator_time_s` has it [us]."""
    return operator_time_s(system, name, ep, variant) * 1e6


def _row(
    table: str,
    row: Mapping[str, str | int | float],
    quantity: str,
    published: float,
    unit: str,
    ours: Callable[[], float],
    tolerance: float | None,
    calibration: bool = False,
) -> PublishedRow:
    target = None if calibration else tolerance
    return PublishedRow(table, row, quantity, published, unit, "P", lambda results: ours(), (), target, calibration)


def _pair_rows() -> list[PublishedRow]:
    rows = []
    for (target, operation), (overrides, rates, latencies) in PAIRS.items():
        devices = NEAR[target], FAR[target]
        for place, device, rate, latency in zip(("intra", "inter"), devices, rates, latencies, strict=True):
            row = {"pair": f"npu-{target}", "op": operation, "node": place}
            given = place == "intra"
            hop = (target, operation) == ("npu", "write")
            rates_of, wait = partial(pair_rate, device, overrides), partial(pair_latency, device, overrides)
            rows.append(_row("ub_pairs", row, "bandwidth", rate, "GB/s", rates_of, PAIRS_WITHIN, given))
            rows.append(_row("ub_pairs", row, "latency", latency, "us", wait, PAIRS_WITHIN, given or hop))
    return rows


def _plane_rows() -> list[PublishedRow]:
    spread = partial(pair_rate, FAR["npu"], (), "cloudmatrix384_planes")
    rdma = partial(pair_rate, FAR["npu"], (UB_DOWN,))
    return [
        _row("planes", {"plane": "ub", "of": "die"}, "bandwidth", 196, "GB/s", spread, PLANES_WITHIN),
        _row("planes", {"plane": "rdma", "of": "die"}, "bandwidth", 25, "GB/s", rdma, None),
    ]


def _operator_rows() -> list[PublishedRow]:
    rows = []
    for (system, name), operator in OPERATORS.items():
        for variant in operator.fixed_us:
            within = WITHIN if variant == "fixed" else CLOSER
            for ep, published in operator.published_us.items():
                ours = partial(operator_time_us, system, name, ep, variant)
                row: dict[str, str | int | float] = {"ep": ep, "cost": variant}
                first = ep == EP_DEGREES[0]
                rows.append(_row(f"{name}_{system}", row, "latency", published, "us", ours, within, first))
    return rows


def paper() -> Paper:
    """The rows of the paper that need a fabric alone."""
    fixed = ", ".join(
        f"{system} {name} {us:g} us ({variant})"
        for (system, name), operator in OPERATORS.items()
        for variant, us in operator.fixed_us.items()
    )
    knob = (
        f"one fixed time an operator, each set from its EP 8 row: {fixed}; table 1's rows inside of a node are declared"
    )
    title = "CloudMatrix384: its planes, and dispatch and combine over them (arXiv 2506.12708)"
    plain = "`windtunnel collective` has no fixed time of an operator, so it prints the transfers alone"
    return Paper(
        "cloudmatrix384",
        title,
        {},
        (*_pair_rows(), *identities(_plane_rows()), *_operator_rows(), *step_rows()),
        knob,
        plain,
    )
