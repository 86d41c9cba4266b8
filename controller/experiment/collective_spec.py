"""What a user asks of a collective: which one, by whom, of which sizes, and by which algorithms."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from controller.topology.fault import Fault
from node.protocol import NODE_TIMEOUT_S

MIB = 2**20


@dataclass(frozen=True)
class CollectiveSpec:
    """A table of calls.

    Attributes:
        collective: its name.
        topology: a name or a path.
        ranks: how many devices take part, the first ones; None for all, or with `devices`.
        devices: the ranks by name, in order; None for the first.
        algorithm: names or MSCCL files, joined by commas; ``auto`` for all, ``nccl`` for the choice of NCCL.
        protocol: one that the topology declares, ``plain``, or ``auto``.
        pieces: independent parts of each chunk; None for the fastest.
        min_bytes, max_bytes: smallest and largest size [bytes].
        factor: from size to size.
        step_bytes: from size to size, in place of the factor [bytes].
        dtype: element type.
        root: rank of the root, or of the master of a star.
        explain: whether to say what bounds each kind of step.
        live: whether to move data through node processes and to count wrong elements.
        pace: wall time over device time of a paced live run; None for as fast as the machine can.
        node_timeout_s: how long a node of a live run may be silent [s of wall time].
        seed: of the data.
        bulk: whether to time arrays instead of plans; None for the default.
        overrides: ``--set`` texts.
        catalog: folders with device sheets of one's own.
        faults: what breaks or slows down in mid-run.
        live_faults: what breaks of the node processes of a live run, in wall time since its first plan.
    """

    collective: str
    topology: str = "dgx_h100"
    ranks: int | None = None
    devices: tuple[str, ...] | None = None
    algorithm: str = "auto"
    protocol: str = "auto"
    pieces: int | None = None
    min_bytes: int = 8
    max_bytes: int = 128 * MIB
    factor: int = 2
    step_bytes: int | None = None
    dtype: str = "fp32"
    root: int = 0
    explain: bool = False
    live: bool = False
    pace: float | None = None
    node_timeout_s: float = NODE_TIMEOUT_S
    seed: int = 0
    bulk: bool | None = None
    overrides: tuple[str, ...] = ()
    catalog: tuple[Path, ...] = ()
    faults: tuple[Fault, ...] = ()
    live_faults: tuple[Fault, ...] = ()
