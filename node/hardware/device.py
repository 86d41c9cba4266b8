"""What a device is, as frozen values: tiers, compute units, ports and queues.

Everything here is in base units (bytes, bytes/s, FLOP/s, s, W); `catalog.py` reads sheets into it and
`controller.topology` applies overrides. A spec says nothing about how long an operation takes: that is `cost.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

DeviceKind = Literal["gpu", "cpu", "cxl", "csd", "npu", "nic"]
ConstantKind = Literal["datasheet", "measured", "assumed"]
StorageKind = Literal["dram", "flash"]
QueueKind = Literal["compute", "copy", "issue", "command"]


@dataclass(frozen=True, slots=True)
class Constant:
    """One number of a device sheet with where it comes from.

    Attributes:
        path: dotted path within the device, as in overrides: ``hbm.read``, ``tensor.peak.bf16``, ``pcie.latency``.
        text: the quantity as written, with its unit.
        value: the quantity in base units.
        kind: datasheet, measured or assumed.
        source: citation; never empty.
    """

    path: str
    text: str
    value: float
    kind: ConstantKind
    source: str


@dataclass(frozen=True, slots=True)
class TierSpec:
    """One level of memory.

    Attributes:
        name: ``hbm``, ``dram``, ``cxl`` or ``flash``.
        storage: how the node stores it: ``dram`` in shared memory, ``flash`` as files that survive the process.
        capacity_bytes: exact size [bytes].
        read_bytes_per_s: read side [bytes/s].
        write_bytes_per_s: write side [bytes/s].
        total_bytes_per_s: reads and writes together [bytes/s]; None when the sides are independent.
        simplex: reads and writes take turns: shares of read and write time add up to at most 1.
        read_latency_s: paid once before bandwidth [s].
        write_latency_s: the same for writes [s].
        page_bytes: smallest unit that is read or written [bytes]; 1 for byte-addressed memory.
        endurance_bytes: what may be written to flash over its rated life [bytes]; None when nobody says.
    """

    name: str
    storage: StorageKind
    capacity_bytes: int
    read_bytes_per_s: float
    write_bytes_per_s: float
    total_bytes_per_s: float | None = None
    simplex: bool = False
    read_latency_s: float = 0.0
    write_latency_s: float = 0.0
    page_bytes: int = 1
    endurance_bytes: float | None = None


@dataclass(frozen=True, slots=True)
class ComputeSpec:
    """One compute unit.

    Attributes:
        name: ``tensor`` (matrix), ``vector`` (everything else) or ``engine`` (an FPGA in a drive).
        peak_flop_per_s: dense peak by dtype (``fp32``, ``bf16``, ``fp16``, ``fp8``, ``int8``) [FLOP/s].
        constants: further numbers that the models of this unit read (SM count, tile efficiency), base units.
    """

    name: str
    peak_flop_per_s: Mapping[str, float]
    constants: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class PortSpec:
    """Where a link attaches. ``read`` leaves the device, ``write`` enters it.

    Attributes:
        name: ``pcie``, ``nvlink``, ``nic``, ...
        read_bytes_per_s: out of the device [bytes/s].
        write_bytes_per_s: into the device [bytes/s].
        total_bytes_per_s: both together [bytes/s]; None for full duplex.
        simplex: shares of read and write time add up to at most 1.
        latency_s: paid once by a transfer that passes [s].
        pageable_bytes_per_s: rate limit of a copy from or to pageable host memory [bytes/s]; None if not known.
    """

    name: str
    read_bytes_per_s: float
    write_bytes_per_s: float
    total_bytes_per_s: float | None = None
    simplex: bool = False
    latency_s: float = 0.0
    pageable_bytes_per_s: float | None = None


@dataclass(frozen=True, slots=True)
class QueueSpec:
    """An in-order queue: its ops start in the order of submission, at most ``slots`` at once.

    Attributes:
        name: ``stream``, ``copy_out``, ``copy_in``, ``engine``, ``issue``, ...
        kind: compute, copy, issue (the host that launches the kernels of this device, one after the other) or command
            (a thread of this CPU that submits commands to drives).
        slots: ops that may run at once.
        launch_s: on an issue or command queue, the host time for one kernel or command [s]; on others, device-side
            start of an op [s].
        share: of the cores of every compute unit that kernels of a compute queue run on [ratio].
    """

    name: str
    kind: QueueKind
    slots: int = 1
    launch_s: float = 0.0
    share: float = 1.0


@dataclass(frozen=True, slots=True)
class DeviceSpec:
    """A product, with every override applied.

    Attributes:
        product: name of the sheet.
        kind: gpu, cpu, cxl, csd, npu or nic; a nic has ports and nothing else.
        description: one line for people.
        tiers, computes, ports, queues: by name, in the sheet's order.
        power_w: watts by activity (``idle``, ``busy``, ...), empty when the sheet gives none [W].
        constants: every number of the sheet with kind and source, by path.
    """

    product: str
    kind: DeviceKind
    description: str
    tiers: Mapping[str, TierSpec]
    computes: Mapping[str, ComputeSpec]
    ports: Mapping[str, PortSpec]
    queues: Mapping[str, QueueSpec]
    power_w: Mapping[str, float] = field(default_factory=dict)
    constants: Mapping[str, Constant] = field(default_factory=dict)

    @property
    def compute_queue(self) -> QueueSpec | None:
        """The first queue of kind ``compute``: where a kernel runs unless it names another."""
        return next((queue for queue in self.queues.values() if queue.kind == "compute"), None)

    def queue_of_kernel(self, name: str) -> QueueSpec | None:
        """The queue that a kernel on queue `name` runs on; "" is the first compute queue."""
        return self.queues.get(name) if name else self.compute_queue

    @property
    def issue_queue(self) -> QueueSpec | None:
        """The queue of the host that launches this device's kernels, or None when launching costs nothing."""
        return next((queue for queue in self.queues.values() if queue.kind == "issue"), None)
