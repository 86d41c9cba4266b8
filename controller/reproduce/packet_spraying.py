"""Ethereal: single paths with minimal splitting against packet spraying.

Source: the facts of its paper (splitting theorem, leaf-spine of 16 leaves and 16 spines with 16 GPUs a leaf, 400 Gb/s,
500 ns a link). What a fluid model reaches: the load of every uplink and what follows from it for completion times, with
and without a failed link; that ring and double binary tree are alike under every balancer. What it cannot reach: the
30 % over real packet spraying and the 40 % over REPS come from reordering, retransmission and queues of packets; those
rows are printed without a tolerance, and ours is equal times. ECMP has no published number; its row says what its
collisions cost, counted from the hashes and not from times: a lower bound, within a percent here. What only counts
flows is `identity`: it must hold, and says nothing of how far times are off.

A collective step is its flows alone, all of one size and started together: of the ring every rank to the next, of the
double binary tree every rank to its parents, of all-to-all every rank to every other, where the number of GPUs is 64,
on 8 leaves and 8 spines.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from fractions import Fraction
from functools import cache

from controller.collectives.trees import inorder_tree
from controller.execute.virtual import run_virtual
from controller.fabric.loads import Fabric
from controller.fabric.routing.ethereal import split
from controller.faults.schedule import parse_fault
from controller.faults.timeline import with_faults
from controller.plan.build import PlanBuilder
from controller.plan.ops import Buffer
from controller.program.run import Program, Run
from controller.reproduce.rows import Paper, PublishedRow, Results, Value, identities
from controller.topology.graph import routes_of
from controller.topology.loader import load_topology
from controller.topology.schema import Device, Endpoint, Link, Topology
from node.hardware.device import PortSpec

LINK_BYTES_PER_S = 50e9
"""400 Gb/s, of links and NICs."""
LINK_LATENCY_S = 500e-9
SIZE = 1 << 20
"""Bytes of a flow [bytes]."""
MOST = 64
"""Largest r and s of the theorem that are tried."""
EXACT = 1e-9
ALIKE = 0.01

Pairs = Sequence[tuple[int, int]]
Texts = tuple[str, ...]


@cache
def leaf_spine(leaves: int, hosts: int, routing: str, faults: Texts = ()) -> Topology:
    """`leaves` leaves of `hosts` GPUs, and as many spines as GPUs a leaf: no uplink is oversubscribed."""
    spec = next(iter(load_topology("dgx_h100").of_kind("gpu"))).spec
    spec = replace(spec, ports={"nic": PortSpec("nic", LINK_BYTES_PER_S, LINK_BYTES_PER_S)})
    devices: dict[str, Device] = {}
    links: list[Link] = []

    def join(name: str, a: Endpoint, b: Endpoint) -> None:
        links.append(Link(name, a, b, LINK_BYTES_PER_S, LINK_BYTES_PER_S, LINK_LATENCY_S))

    for rank in range(leaves * hosts):
        devices[gpu(rank)] = Device(gpu(rank), "gpu", rank, f"host{rank}", spec)
        join(f"nic{rank:03}", Endpoint(gpu(rank), "nic"), Endpoint(f"leaf{rank // hosts:02}"))
    for leaf in range(leaves):
        for spine in range(hosts):
            join(uplink(leaf, spine), Endpoint(f"leaf{leaf:02}"), Endpoint(f"spine{spine:02}"))
    switches = (*(f"leaf{leaf:02}" for leaf in range(leaves)), *(f"spine{spine:02}" for spine in range(hosts)))
    options = {"routing": routing}
    made = Topology("leaf_spine", "packet_spraying", devices, switches, tuple(links), options=options)
    return with_faults(made, map(parse_fault, faults))


def gpu(rank: int) -> str:
    """Name of a rank's device."""
    return f"gpu{rank:03}"


def uplink(leaf: int, spine: int) -> str:
    """Name of the link between a leaf and a spine."""
    return f"up{leaf:02}-{spine:02}"


def ring(count: int) -> Pairs:
    """Every rank to the next."""
    return [(rank, (rank + 1) % count) for rank in range(count)]


def double_binary_tree(count: int) -> Pairs:
    """Every rank to its parent in both trees."""
    trees = (inorder_tree(count), inorder_tree(count, 1))
    return [(rank, tree.parents[rank]) for tree in trees for rank in range(count) if tree.parents[rank] != rank]


def all_to_all(count: int) -> Pairs:
    """Every rank to every other."""
    return [(rank, (rank + step) % count) for step in range(1, count) for rank in range(count)]


@cache
def step_s(pattern: Callable[[int], Pairs], leaves: int, hosts: int, routing: str, faults: Texts = ()) -> float:
    """Time until all flows of a step have ended, on the virtual clock [s]."""
    topology = leaf_spine(leaves, hosts, routing, faults)

    def go(run: Run) -> Program:
        build = PlanBuilder("step")
        for number, (sender, receiver) in enumerate(pattern(leaves * hosts)):
            source, target = (
                Buffer(gpu(rank), "hbm", f"{side}{number}", "int8", (SIZE,))
                for rank, side in ((sender, "from"), (receiver, "to"))
            )
            run.place(source, written=True)
            run.place(target)
            build.transfer(source, target)
        yield run.submit(build.plan())

    return run_virtual(topology, [go]).time_s


def worst_uneven() -> float:
    """Largest load of an uplink over what ideal spraying gives it, for every r and s; the smallest is checked too."""
    worst = Fraction(1)
    for flows in range(1, MOST + 1):
        for uplinks in range(1, MOST + 1):
            # In whole numbers of 1 / uplinks of a flow: ideal spraying gives every uplink `flows` of them.
            load = [0] * uplinks
            for parts in split(flows, uplinks):
                for number, part in parts:
                    load[number] += uplinks // part.denominator
            worst = max(worst, Fraction(max(load), flows), Fraction(flows, min(load)))
    return float(worst)


def meetings(leaves: int, hosts: int) -> float:
    """Flows of an all-to-all that ECMP lets meet on its fullest link, over those on the fullest of ideal spraying."""
    pairs = all_to_all(leaves * hosts)
    topology = leaf_spine(leaves, hosts, "ecmp")
    shares = Fabric(topology).spread([(gpu(a), gpu(b), SIZE, 0) for a, b in pairs])
    on_link: Counter[str] = Counter()
    for (sender, receiver), chosen in zip(pairs, shares, strict=True):
        for number, _ in chosen or ((0, 1),):
            for hop in routes_of(topology).paths(gpu(sender), gpu(receiver))[number].hops:
                on_link[hop.resource] += 1
    # Sprayed, the fullest link is a GPU's own: it carries a flow to each other GPU.
    return max(on_link.values()) / (leaves * hosts - 1)


def _data_s(time_s: float) -> float:
    """Without the latency of the four links."""
    return time_s - 4 * LINK_LATENCY_S


def _row(
    table: str, row: dict[str, str | int | float], quantity: str, published: Value, mark: str,
    ours: Callable[[], Value], tolerance: float | None = None, unit: str = "ratio",
) -> PublishedRow:  # fmt: skip
    def value(results: Results) -> Value:
        return ours()

    return PublishedRow(table, row, quantity, published, unit, mark, value, (), tolerance)


def _against(
    pattern: Callable[[int], Pairs], leaves: int, hosts: int, one: str, other: str, faults: Texts = ()
) -> float:
    return step_s(pattern, leaves, hosts, one, faults) / step_s(pattern, leaves, hosts, other, faults)


def paper() -> Paper:
    """The rows; ours are counted, or times on the virtual clock."""
    failed = f"{uplink(0, 3)}@0 s"
    # With two of eight gone, uplinks and not NICs set the pace, and 448 flows do not divide by what is left.
    two_failed = (failed, f"{uplink(0, 5)}@0 s")
    rows = [
        _row("theorem", {"r": f"1-{MOST}", "s": f"1-{MOST}"}, "uplink load / spraying's", 1.0, "S",
             worst_uneven, EXACT),
        _row("theorem", {"r": 448, "s": 8, "step": "all_to_all"}, "time / spraying's", 1.0, "S",
             lambda: _against(all_to_all, 8, 8, "ethereal", "spray"), EXACT),
        _row("theorem", {"r": 448, "s": "8-2", "step": "all_to_all"}, "time / spraying's, links failed", 1.0, "S",
             lambda: _against(all_to_all, 8, 8, "ethereal", "spray", two_failed), EXACT),
        _row("ecmp", {"step": "all_to_all"}, "time / spraying's", meetings(8, 8), "D",
             lambda: _data_s(step_s(all_to_all, 8, 8, "ecmp")) / _data_s(step_s(all_to_all, 8, 8, "spray")), ALIKE),
        _row("balancers", {"step": "ring", "gpus": 256}, "ecmp time / ethereal's", 1.0, "S",
             lambda: _against(ring, 16, 16, "ecmp", "ethereal"), ALIKE),
        _row("balancers", {"step": "double_binary_tree", "gpus": 256}, "ecmp time / ethereal's", 1.0, "S",
             lambda: _against(double_binary_tree, 16, 16, "ecmp", "ethereal"), ALIKE),
        _row("packets", {"against": "packet_spraying"}, "time / spraying's, at best", 0.7, "P",
             lambda: _against(all_to_all, 8, 8, "ethereal", "spray")),
        _row("packets", {"against": "REPS"}, "time / REPS's, at best", 0.6, "S", lambda: "not modelled: packets"),
        _row("packets", {"against": "ECMP", "links": "one_failed"}, "outcome", "does not finish", "S",
             lambda: f"finishes in {step_s(all_to_all, 8, 8, 'ecmp', (failed,)) * 1e3:.3f} ms", None, "text"),
    ]  # fmt: skip
    # All but the packets follow from counting flows: two balancers of ours over each other, or times over our hashes.
    counted = [row for row in rows if row.table != "packets"]
    rows = [*identities(counted), *(row for row in rows if row.table == "packets")]
    return Paper("packet_spraying", "Ethereal: single paths with minimal splitting", {}, tuple(rows))
