"""The sum over tensor-parallel ranks inside of a decode step, over any number of rows.

Two hops: every rank sends chunk i of its part to rank i, adds up what came, and sends the sum to all. A library does so
in one launch, which costs what `controller.collectives.protocol` reads from the topology: a start, a software share of
each hop, and the rate that one rank can send at. The adding itself is one kernel on each rank.
Source: reduce-scatter and all-gather, each direct: Rabenseifner, ICCS 2004, for the split; NVIDIA NCCL,
src/graph/tuning.cc, for the constants.
Not modelled: the choice of a ring or NVLS, and that channels keep multiprocessors from nothing here, since the layer
waits for the sum anyway.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from controller.collectives.protocol import Protocol, protocols_of
from controller.plan.build import PlanBuilder
from controller.plan.ops import View
from controller.plan.size import Size
from controller.topology.graph import route
from controller.topology.schema import Topology
from node.hardware.operation import ITEM_BYTES

_HOPS = 2


@dataclass(frozen=True, slots=True)
class Library:
    """A protocol between the ranks of one topology.

    Attributes:
        name: of the protocol.
        start_s: from the call to the first byte, with the software share of both hops [s].
        bytes_per_s: that one rank can send [bytes/s]; 0 for what its port declares.
    """

    name: str
    start_s: float
    bytes_per_s: float

    def about_s(self, nbytes: float, world: int) -> float:
        """What a sum of `nbytes` takes by the start and the rate alone; only to choose between protocols [s]."""
        sent = _HOPS * nbytes * (world - 1) / world
        return self.start_s + (sent / self.bytes_per_s if self.bytes_per_s else 0.0)


def libraries_of(topology: Topology, devices: Sequence[str]) -> tuple[Library, ...]:
    """What the ranks can choose among: the protocols that no algorithm has for itself, or plain copies."""
    if len(devices) < 2:
        return (Library("plain", 0.0, 0.0),)
    wire_s = route(topology, devices[0], devices[1]).latency_s
    found = [_library(each, wire_s) for each in protocols_of(topology) if not each.algorithms]
    return tuple(found) or (Library("plain", 0.0, 0.0),)


def fastest(libraries: Sequence[Library], nbytes: float, world: int) -> Library:
    """The protocol that a sum of `nbytes` goes by, as a library chooses from its tables."""
    return min(libraries, key=lambda each: each.about_s(nbytes, world))


def _library(protocol: Protocol, wire_s: float) -> Library:
    hop_s = 0.0 if protocol.hop_s is None else max(protocol.hop_s - wire_s, 0.0)
    return Library(protocol.name, protocol.base_s + _HOPS * hop_s, protocol.rate_bytes_per_s or 0.0)


def all_reduce(
    build: PlanBuilder,
    library: Library,
    parts: Sequence[View],
    received: Sequence[Sequence[View]],
    sums: Sequence[View],
    rows: Size,
    columns: int,
) -> None:
    """Adds up `parts` into `sums`.

    Args:
        build: takes the ops.
        library: how.
        parts: of each rank, rows x columns elements.
        received: of each rank, room for a chunk from every other rank, by sender; its own entry is not used.
        sums: of each rank, as large as its part.
        rows: of the parts, may be open.
        columns: a multiple of the number of ranks.
    """
    world = len(parts)
    width = columns // world
    chunk_bytes = rows * (width * ITEM_BYTES[parts[0].buffer.dtype])
    share = library.bytes_per_s / (world - 1)
    started: list[tuple[int, ...]] = [()] * world
    if library.start_s > 0:
        # On the queue of kernels, so behind what makes the parts.
        started = [
            (build.kernel("delay", part.buffer.device, [], [], label="all_reduce start", seconds=library.start_s),)
            for part in parts
        ]

    def chunk(view: View, number: int) -> View:
        return View(view.buffer, chunk_bytes * number, (rows, width))

    for owner in range(world):
        for sender in range(world):
            if sender != owner:
                build.transfer(
                    chunk(parts[sender], owner), View(received[owner][sender].buffer, 0, (rows, width)),
                    rate_limit_bytes_per_s=share, after=started[sender], label="all_reduce",
                )  # fmt: skip
    for owner in range(world):
        operands = [
            chunk(parts[owner], owner) if sender == owner else View(received[owner][sender].buffer, 0, (rows, width))
            for sender in range(world)
        ]
        build.kernel(
            "reduce", parts[owner].buffer.device, operands, [chunk(sums[owner], owner)], kind="sum", label="all_reduce"
        )
    for owner in range(world):
        for receiver in range(world):
            if receiver != owner:
                build.transfer(
                    chunk(sums[owner], owner), chunk(sums[receiver], owner),
                    rate_limit_bytes_per_s=share, label="all_reduce",
                )  # fmt: skip
