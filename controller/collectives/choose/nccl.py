"""What NCCL would pick for a call: its own formula over its own tables, then the time of that plan.

NCCL takes the least of latency + size / bandwidth over its algorithms (ring, tree, NVLS, NVLSTree) and protocols (LL,
LL128, Simple). A topology says in its options how NCCL sees it:

========================  =============================================================================================
``nccl.version``          whose tables: 2.21 or 2.27
``nccl.generation``       of the GPUs: volta, ampere, hopper or blackwell
``nccl.channels``         rings or trees that its search of the topology finds
``nccl.channel_rate``     of each of them
``nccl.nvls_channels``    of NVLS; also what its loops of the data are sized by
``nccl.net_rate``         of all channels between two hosts; needed by groups over several hosts only
========================  =============================================================================================

What it picks is then timed as everything else is, on the virtual executor, with the protocols that the topology
declares: NCCL's estimate decides, and nothing more.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from controller.collectives.call import Call
from controller.collectives.choose.algorithm import AlgorithmChoice
from controller.collectives.choose.nccl_tables import GENERATIONS, PROTOCOLS, VERSIONS, Tuning
from controller.collectives.errors import BadCall
from controller.collectives.measure.calls import measure, prepare
from controller.collectives.measure.explain import steps_of
from controller.collectives.protocol import as_seen, protocol_of
from controller.topology.schema import Topology
from node.errors import BadQuantity
from node.hardware.units import GIGA, MICRO, parse

PREFIX = "nccl."
STEPS: Mapping[str, int] = {"all_reduce": 2, "reduce_scatter": 1, "all_gather": 1}
"""How often a ring passes the data round."""

NVLS_CHUNKS = ((64, 65_536), (8, 32_768), (2, 16_384))
"""NCCL, src/enqueue.cc: where a message has less than so many loops, the chunk of a channel is at most so large
[bytes]; each rule goes by the chunk that the one before left, the first by 128 KiB."""

SENDS: Mapping[str, str] = {"all_to_all": "direct"}
"""Collectives that NCCL makes of sends and receives between all pairs."""

SENT_BY_LL_BYTES = 16_384
"""NCCL, src/enqueue.cc, NCCL_P2P_LL_THRESHOLD: a message of at most so much a channel goes by LL, a larger one by
Simple; a further channel is taken for every 64 KiB of it (an eighth of a chunk), so this is the limit of a message too
[bytes]."""

TREE_PIECES = 8
"""Parts of the data that follow each other through a tree; assumed."""

MOST_LOOPS = 64
"""A plan has at most so many loops of NVLS; with more they are the same part of the time."""


@dataclass(frozen=True, slots=True)
class NcclLibrary:
    """How NCCL sees a topology: the options of the table above, in base units."""

    version: str
    tuning: Tuning
    generation: str
    channels: int
    channel_bytes_per_s: float
    nvls_channels: int
    net_bytes_per_s: float


@dataclass(frozen=True, slots=True)
class Estimate:
    """What NCCL expects of one of its algorithms [s]."""

    algorithm: str
    protocol: str
    time_s: float


def library_of(topology: Topology) -> NcclLibrary | None:
    """The options ``nccl.*`` of a topology; None when it has none.

    Raises:
        BadCall: one that is missing or wrong.
    """
    given = {key.removeprefix(PREFIX): text for key, text in topology.options.items() if key.startswith(PREFIX)}
    if not given:
        return None
    known = ("version", "generation", "channels", "channel_rate", "nvls_channels", "net_rate")
    for key in (*given, *known[:4]):
        if key not in known or key not in given:
            what = "is unknown" if key not in known else "is missing"
            raise BadCall(f"{topology.name}: option {PREFIX}{key} {what}; NCCL's choice goes by {', '.join(known)}")
    version, generation = given["version"], given["generation"]
    if version not in VERSIONS:
        raise BadCall(f"{topology.name}: no tables of NCCL {version!r}; there are {', '.join(VERSIONS)}")
    if generation not in GENERATIONS:
        raise BadCall(f"{topology.name}: no generation {generation!r} of GPUs; there are {', '.join(GENERATIONS)}")
    counts = [given["channels"], given.get("nvls_channels", "0")]
    for text in counts:
        if not text.isdecimal():
            raise BadCall(f"{topology.name}: {text!r} channels of NCCL; write a whole number")
    try:
        rate = parse(given["channel_rate"], "bytes/s")
        net = parse(given["net_rate"], "bytes/s") if "net_rate" in given else 0.0
    except BadQuantity as error:
        raise BadCall(f"{topology.name}: an option {PREFIX}: {error}") from error
    return NcclLibrary(version, VERSIONS[version], generation, int(counts[0]), rate, int(counts[1]), net)


def estimates(library: NcclLibrary, call: Call) -> list[Estimate]:
    """What NCCL expects, the fastest first; of equal ones ring before tree before NVLS, LL before Simple.

    Raises:
        BadCall: a collective that NCCL does not choose for, or hosts that the options do not describe.
    """
    if call.collective not in STEPS:
        raise BadCall(f"NCCL has one way for {call.collective}; name an algorithm, or auto")
    nodes = len(call.group.by_host())
    if nodes > 1 and not library.net_bytes_per_s:
        raise BadCall(f"the group is spread over {nodes} hosts, and the topology lacks the option {PREFIX}net_rate")
    size = call.count * call.item_bytes
    found = [_ring(library, call, nodes, index, size) for index in range(len(PROTOCOLS))]
    if call.collective == "all_reduce":
        found += [_tree(library, call, nodes, index, size) for index in range(len(PROTOCOLS))]
    nvls = _nvls(library, call, nodes, size)
    return sorted([*found, *([nvls] if nvls else [])], key=lambda each: each.time_s)


def choose_nccl(topology: Topology, call: Call) -> AlgorithmChoice:
    """NCCL's choice with its time.

    Raises:
        BadCall: a topology without the options of NCCL, or a call that NCCL makes no choice for.
    """
    library = library_of(topology)
    if library is None:
        raise BadCall(f"{topology.name} declares no options {PREFIX}*; use --algorithm auto, or declare them")
    if call.world_size == 1:
        ranked = [Estimate("ring", "simple", 0.0)]
    elif call.collective in SENDS:
        ranked = []
    else:
        ranked = estimates(library, call)
    first = ranked[0] if ranked else _sends(call)
    protocol = protocol_of(topology, first.protocol)
    seen = as_seen(topology, call.group, protocol)
    entry = prepare(replace(call, pieces=_pieces(library, call, first.algorithm)), first.algorithm, protocol)
    outcome = measure(seen, entry)
    if entry.time_s is None:
        raise BadCall(f"{call.collective} of {call.count} {call.dtype} by {first.algorithm}: {outcome.ended}")
    why = f"NCCL {library.version} expects {first.time_s / MICRO:.4g} us of it"
    if not ranked:
        why = f"NCCL sends up to {SENT_BY_LL_BYTES} B to a rank by LL, more by Simple"
    if len(ranked) > 1:
        other = ranked[1]
        why += f"; next is {other.algorithm}/{other.protocol} with {other.time_s / MICRO:.4g} us"
    bound = next(((use.name, use.busy_ratio) for use in outcome.resources if use.kind != "queue"), None)
    changes = outcome.link_changes
    return AlgorithmChoice(entry, (), bound, steps_of(seen, entry, outcome), why, changes)


def _sends(call: Call) -> Estimate:
    """Sends to all others; NCCL knows no time of them."""
    block = -(-call.count // call.world_size) * call.item_bytes
    return Estimate(SENDS[call.collective], "ll" if block <= SENT_BY_LL_BYTES else "simple", 0.0)


def _links_gb_per_s(library: NcclLibrary, nodes: int) -> float:
    inside = library.channels * library.channel_bytes_per_s
    return (min(inside, library.net_bytes_per_s) if nodes > 1 else inside) / GIGA


def _hosts(nodes: int) -> int:
    """Which column of a table by number of nodes."""
    return min(nodes, 3) - 1


def _ring(library: NcclLibrary, call: Call, nodes: int, index: int, size: int) -> Estimate:
    tuning, ranks = library.tuning, call.world_size
    bus = _links_gb_per_s(library, nodes)
    if PROTOCOLS[index] == "ll":
        bus = min(tuning.ll_gb_per_s[library.generation][_hosts(nodes)], bus * 0.5)
    elif PROTOCOLS[index] == "ll128":
        bus = min(bus * 0.92, library.channels * tuning.ring_ll128_gb_per_s[library.generation][_hosts(nodes)])
    passes = STEPS[call.collective]
    steps, between = passes * (ranks - 1), passes * (nodes - 1)
    latency_us = tuning.base_us["ring"][index]
    latency_us += (steps - between) * tuning.nvlink_us["ring"][index] + between * tuning.net_us["ring"][index]
    if PROTOCOLS[index] == "simple" and nodes > 1 and call.collective == "all_reduce":
        # NCCL calls it the plateau of rings: from 64 bytes a channel and rank on.
        latency_us *= 1.4 if size / (library.channels * ranks) >= 64 else 1.0
    hosts = call.group.by_host()
    name = "rings" if nodes > 1 and all(len(each) == len(hosts[0]) for each in hosts) else "ring"
    return Estimate(name, PROTOCOLS[index], latency_us * MICRO + size / (bus * ranks / steps * GIGA))


def _tree(library: NcclLibrary, call: Call, nodes: int, index: int, size: int) -> Estimate:
    tuning, generation, column = library.tuning, library.generation, _hosts(nodes)
    bus = min(_links_gb_per_s(library, nodes) * 0.92, library.channels * tuning.tree_gb_per_s[generation][column])
    if PROTOCOLS[index] == "ll":
        bus = min(bus / 3.8, tuning.ll_gb_per_s[generation][column])
    elif PROTOCOLS[index] == "ll128":
        share = 7 / 9 if nodes == 1 else 120 / 128
        bus = min(bus * share, library.channels * tuning.tree_ll128_gb_per_s[generation][column])
    doublings = (size >> 6).bit_length() - 1
    if 0 <= doublings < len(tuning.tree_corrections[index]):
        bus *= tuning.tree_corrections[index][doublings]
    inside = call.world_size // nodes - 1
    latency_us = tuning.base_us["tree"][index] + 2 * (
        inside * tuning.nvlink_us["tree"][index] + (nodes.bit_length() - 1) * tuning.net_us["tree"][index]
    )
    return Estimate("double_binary_tree", PROTOCOLS[index], latency_us * MICRO + size / (bus * 0.5 * GIGA))


def _nvls(library: NcclLibrary, call: Call, nodes: int, size: int) -> Estimate | None:
    """NVLS on one node, NVLSTree on several; None where the switches or NCCL's tables have neither."""
    share = library.tuning.nvls_share[library.generation]
    able = call.group.in_hosts
    if not share or not library.nvls_channels or able is None or not able.multicast:
        return None
    if call.collective != "all_gather" and call.dtype not in able.types:
        return None
    if nodes > 1 and (call.collective != "all_reduce" or call.world_size == nodes):
        return None
    bandwidth = _links_gb_per_s(library, 1) * share
    bandwidth *= 5 / 6 if call.collective == "all_reduce" else (call.world_size - 1) / call.world_size
    latency_us = library.tuning.nvls_us
    if nodes > 1:
        net = library.net_bytes_per_s / GIGA * 5 / 6
        bandwidth = min(bandwidth, net if nodes == 2 else net / 2)
        latency_us += 2 * (nodes.bit_length() - 1) * library.tuning.net_us["tree"][PROTOCOLS.index("simple")]
        return Estimate("nvls_tree", "nvls", latency_us * MICRO + size / (bandwidth * GIGA))
    name, protocol = ("nvls", "nvls") if call.collective == "all_reduce" else ("in_switch", "multimem")
    return Estimate(name, protocol, latency_us * MICRO + size / (bandwidth * GIGA))


def _pieces(library: NcclLibrary, call: Call, algorithm: str) -> int:
    """How many loops NVLS makes; a step of a ring is whole, since its hop is paid by every step and not by slices."""
    size = call.count * call.item_bytes
    if algorithm == "double_binary_tree":
        return TREE_PIECES if size >= TREE_PIECES * call.world_size else 1
    if algorithm not in ("nvls", "nvls_tree"):
        return 1
    return max(1, min(MOST_LOOPS, -(-size // nvls_loop_bytes(size, library.nvls_channels, call.world_size))))


def nvls_loop_bytes(size: int, channels: int, ranks: int) -> int:
    """How much of a message NVLS takes at once: a chunk of every channel for every rank [bytes]."""
    chunk = 131_072
    for loops, smaller in NVLS_CHUNKS:
        if size < loops * channels * ranks * chunk and chunk > smaller:
            chunk = smaller
    return channels * ranks * chunk
