"""The time of a call without a plan: bulk arrays on an engine of their own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from controller.collectives.begins import beginning, submitted_s
from controller.collectives.bulk.additions import Additions, additions, start_s
from controller.collectives.bulk.exchange import NAMES, exchange
from controller.collectives.bulk.loads import Loads, Numbers, Places
from controller.collectives.bulk.phases import WALKS, BulkPhases, Walk, filled
from controller.collectives.bulk.rows import Start, activities
from controller.collectives.bulk.stream import can_stream, open_connections, stream
from controller.collectives.bulk.symmetry import Classes, every_rank, fold, folded_loads
from controller.collectives.call import Call
from controller.collectives.errors import BadCall
from controller.collectives.group import Group
from controller.collectives.protocol import Protocol, copied_out_s
from controller.engine.activities import Activities
from controller.engine.engine import Engine
from controller.execute.costs import Costs
from controller.fabric.loads import Fabric
from controller.fabric.routing.table import routing_name
from controller.topology.schema import Topology

BY_PAIR = ("single", "ecmp", "spray")
"""Routing policies that give a transfer its paths by its two devices alone, whatever else flows."""

MAX_ROWS = 20_000_000
"""Most rows of one batch: some 6 GB of memory."""

STREAM_ABOVE = 1_000_000
"""Rows above which a ring is streamed."""

WINDOW_ROWS = 500_000
"""Rows of one window of what is streamed."""


@dataclass(frozen=True, slots=True)
class Bulk:
    """What a call came to.

    Attributes:
        time_s: on the virtual clock [s].
        transfers: how many the call consists of.
        rows: how many activities were simulated for them.
        classes: of ranks that do the same at the same time; as many as ranks where nothing was folded.
    """

    time_s: float
    transfers: int
    rows: int
    classes: int


def in_bulk(collective: str, names: Sequence[str]) -> tuple[str, ...]:
    """Those of the algorithms that can be timed in bulk."""
    return tuple(
        name for name in names if (collective, name) in WALKS or (collective == "all_to_all" and name in NAMES)
    )


def refusal(topology: Topology) -> str:
    """Why nothing on a topology can be timed in bulk; empty when it can."""
    routing = routing_name(topology.options)
    if routing not in BY_PAIR:
        return (
            f"bulk timing knows routes that go by the pair of ranks alone ({', '.join(BY_PAIR)}), and {topology.name} "
            f"routes by {routing!r}"
        )
    if topology.faults:
        texts = "; ".join(fault.text for fault in topology.faults)
        return f"bulk timing knows no faults, and {topology.name} has {texts!r}"
    return ""


class Ground:
    """What calls of one group on one topology have in common: resources, kinds of ranks, costs.

    Args:
        topology: as the protocol sees it.
        group: the ranks.

    Raises:
        BadCall: a fabric that is not timed in bulk.
    """

    def __init__(self, topology: Topology, group: Group) -> None:
        self.topology, self.fabric = topology, Fabric(topology)
        if complaint := refusal(topology):
            raise BadCall(f"{complaint}; remove that, or time fewer ranks by their plan (--no-bulk)")
        self.costs, self.places = Costs(topology, self.fabric), Places(topology, self.fabric, group)


def time_in_bulk(
    ground: Ground, call: Call, name: str, protocol: Protocol, *, folded: bool = True, stream_above: int = STREAM_ABOVE
) -> Bulk:
    """Times a call as `measure` does with its plan.

    Args:
        ground: of the call's group, on the topology as the protocol sees it.
        call: what to do.
        name: the algorithm, one of `in_bulk`.
        protocol: how bytes move.
        folded: whether ranks that do the same are folded; the time is the same.
        stream_above: rows above which a ring is streamed.

    Raises:
        BadCall: it cannot be timed in bulk, or it does not fit into memory.
    """
    if not in_bulk(call.collective, (name,)):
        raise BadCall(f"{call.collective} {name} has no bulk form; time it by its plan (--no-bulk)")
    costs, places, size, protocol = ground.costs, ground.places, call.world_size, beginning(call, protocol)
    if size == 1 and call.in_place:
        return Bulk(0.0, 0, 0, 1)
    if call.collective == "all_to_all" or size == 1:
        _check_room(ground.topology, call, 0)
        base_s = max(_starts(costs, call, protocol, places, np.arange(size)))
        own = protocol.own_bytes_per_s or np.inf
        rows = exchange(call, places, base_s, in_rounds=name == "pairwise", folded=folded, own_bytes_per_s=own)
        time_s = max(_end_of(ground.fabric, rows) + copied_out_s(call, protocol), submitted_s(call, protocol))
        return Bulk(time_s, size * min(size, call.count), rows.count, len(np.unique(places.kind)))
    phases = WALKS[call.collective, name](call)
    _check_room(ground.topology, call, phases.scratch)
    ranks = np.arange(size, dtype=np.int32)
    loads = [places.transfers(ranks, walk.following) for walk in phases.walks]
    counted = phases.transfers
    if folded:
        # A missing chunk saves a launch, which lets those behind it be launched earlier.
        full = phases if _launches(ground.topology, call) else filled(phases)
        classes = fold(places, full, loads)
        if full is not phases and not (classes.count == 1 and _is_free(ground.fabric, full, loads, classes, places)):
            classes = fold(places, phases, loads)
        else:
            phases = full
    else:
        classes = every_rank(places)
    walks = _by_class(phases.walks, classes)
    rows_needed = sum(walk.steps * walk.owned.size * (3 if walk.reduces else 1) for walk in walks)
    streamed = rows_needed > stream_above and can_stream(walks)
    if rows_needed > MAX_ROWS and not streamed:
        raise BadCall(
            f"{call.collective} {name} of {call.count} {call.dtype} over {size} ranks comes to {rows_needed:,} "
            f"transfers and additions, since its ranks fall into {classes.count:,} classes; at most {MAX_ROWS:,} are "
            f"simulated: use a size that divides evenly, fewer ranks, or ring"
        )
    material = _material(call, phases, walks, loads, classes, ground, protocol)
    connections = _connections(phases.walks, classes, len(ground.fabric.slots))
    if streamed:
        window = min(stream_above, WINDOW_ROWS)
        time_s, simulated = stream(ground.fabric, walks, *material, call.item_bytes, connections, window)
        return Bulk(time_s, counted, simulated, classes.count)
    rows = activities(walks, *material, call.item_bytes, connections)
    return Bulk(_end_of(ground.fabric, rows, connections), counted, rows.count, classes.count)


def _connections(walks: Sequence[Walk], classes: Classes, first: int) -> list[NDArray[np.int32]]:
    """Queue of the connection that each class sends on, for each walk; those of the devices end before `first`."""
    number_of: dict[tuple[int, int], int] = {}
    found: list[NDArray[np.int32]] = []
    for walk in walks:
        ends = zip(classes.example.tolist(), walk.following[classes.example].tolist(), strict=True)
        found.append(np.array([number_of.setdefault(pair, first + len(number_of)) for pair in ends], np.int32))
    return found


def _launches(topology: Topology, call: Call) -> bool:
    """Whether a launch takes the host of any rank some time."""
    specs = {id(spec): spec for spec in (topology.devices[name].spec for name in call.group.devices)}
    queues = [spec.issue_queue for spec in specs.values()]
    return any(queue is not None and queue.launch_s > 0 for queue in queues)


def _is_free(fabric: Fabric, phases: BulkPhases, loads: Sequence[Loads], classes: Classes, places: Places) -> bool:
    """Whether the transfers of a step, of one class, are as fast together as each is alone."""
    for walk, each in zip(phases.walks, loads, strict=True):
        own = slice(0, int(each.start[1]))
        alone = float((fabric.capacity[each.resource[own]] / each.weight[own]).min())
        together = folded_loads(walk, each, classes, places)
        if float((fabric.capacity[together.resource] / together.weight).min()) < alone:
            return False
    return True


def _by_class(walks: Sequence[Walk], classes: Classes) -> list[Walk]:
    """The walks of one rank of each class, from class to class."""
    ranks, of_rank = classes.example, classes.of_rank
    return [
        replace(
            walk,
            following=of_rank[walk.following[ranks]].astype(np.int32),
            preceding=of_rank[walk.preceding[ranks]].astype(np.int32),
            owned=walk.owned[:, ranks],
        )
        for walk in walks
    ]


def _material(
    call: Call,
    phases: BulkPhases,
    walks: Sequence[Walk],
    loads: Sequence[Loads],
    classes: Classes,
    ground: Ground,
    protocol: Protocol,
) -> tuple[list[Loads], Start, Additions | None]:
    """What transfers load, what comes first and what additions cost, by class."""
    ranks, places, costs = classes.example, ground.places, ground.costs
    summed = [_folded(walk, each, classes, places) for walk, each in zip(phases.walks, loads, strict=True)]
    start = np.array(_starts(costs, call, protocol, places, ranks))
    reducing = [walk for walk in walks if walk.reduces]
    own = protocol.own_bytes_per_s or np.inf
    copies = None
    if phases.copied.size or (reducing and own < np.inf):
        copies = places.transfers(ranks.astype(np.int32), ranks.astype(np.int32))
    added = None
    if reducing:
        sizes = np.unique(np.concatenate([np.zeros(1, np.int64), *(walk.owned.ravel() for walk in reducing)]))
        added = additions(call, costs, places, ranks, sizes)
    copied = phases.copied[ranks] if phases.copied.size else phases.copied
    return summed, Start(start, copied, copies, own), added


def _folded(walk: Walk, each: Loads, classes: Classes, places: Places) -> Loads:
    return each if classes.count == len(classes.of_rank) else folded_loads(walk, each, classes, places)


def _starts(costs: Costs, call: Call, protocol: Protocol, places: Places, ranks: Numbers) -> list[float]:
    """How long the protocol takes to start on each of `ranks` [s]."""
    if protocol.base_s <= 0:
        return [0.0] * len(ranks)
    of_sheet: dict[int, float] = {}
    for rank, sheet in zip(ranks.tolist(), places.sheet[ranks].tolist(), strict=True):
        if sheet not in of_sheet:
            of_sheet[sheet] = start_s(costs, call.group.devices[rank], protocol.base_s)
    return [of_sheet[sheet] for sheet in places.sheet[ranks].tolist()]


def _check_room(topology: Topology, call: Call, scratch: int) -> None:
    """Whether the buffers of every rank fit into its tier.

    Raises:
        BadCall: they do not.
    """
    checked: dict[tuple[int, str], None] = {}
    for rank, (name, tier) in enumerate(zip(call.group.devices, call.group.tiers, strict=True)):
        spec = topology.devices[name].spec
        if (id(spec), tier) in checked:
            continue
        # Chunks are largest at the first ranks, so the first rank of a sheet needs the most.
        checked[id(spec), tier] = None
        buffers = dict.fromkeys((call.input(rank).buffer, call.output(rank).buffer))
        need = sum(buffer.nbytes for buffer in buffers) + scratch * call.item_bytes
        if need > spec.tiers[tier].capacity_bytes:
            raise BadCall(
                f"{call.collective} of {call.count} {call.dtype} needs {need:,} B of {name}.{tier}, which has "
                f"{spec.tiers[tier].capacity_bytes:,} B; use a smaller size"
            )


def _end_of(fabric: Fabric, rows: Activities, connections: Sequence[NDArray[np.int32]] = ()) -> float:
    engine = Engine()
    engine.add_resources(fabric.capacity)
    engine.add_queues(fabric.slots)
    open_connections(engine, connections, len(fabric.slots))
    engine.submit(rows)
    engine.run()
    return engine.now
