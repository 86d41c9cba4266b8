"""How a run ended, in one type for both executors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from controller.errors import OutOfMemory
from controller.execute.flash_traffic import FlashUse
from controller.plan.author import author_of, line_text
from controller.program.results import Figure, ProgramResult


@dataclass(frozen=True, slots=True)
class ResourceUse:
    """What one resource or queue did during a run.

    Attributes:
        name: ``gpu.hbm.read``, ``csd0.flash.read``, ``csd0.pcie-root>``, ``gpu/stream``.
        kind: tier, port, link or queue.
        busy_s: time at full capacity that its load amounts to; for a queue the time that it was held [s].
        busy_ratio: busy_s over the duration of the run.
        amount: bytes moved; of what is simplex the time that it was taken for [s]; of a queue the ops that it ran.
        unit: of the amount: ``bytes``, ``s`` or ``ops``.
    """

    name: str
    kind: str
    busy_s: float
    busy_ratio: float
    amount: float
    unit: str = "bytes"


@dataclass(frozen=True, slots=True)
class OpTimes:
    """Time by kind of op (label): virtual, and paced where a live run was paced."""

    label: str
    count: int
    time_s: float
    paced_s: float | None = None


@dataclass(frozen=True, slots=True)
class Shortage:
    """A tier that is too small.

    Attributes:
        device, tier: where.
        need_bytes: highest occupancy if there were room [bytes].
        capacity_bytes: what the tier holds [bytes].
    """

    device: str
    tier: str
    need_bytes: int
    capacity_bytes: int

    @classmethod
    def of(cls, error: OutOfMemory) -> Shortage:
        """What `error` alone says, which ended the run before all was asked for."""
        return cls(error.device, error.tier, error.capacity_bytes + error.missing_bytes, error.capacity_bytes)

    @property
    def missing_bytes(self) -> int:
        """How much larger the tier would have to be [bytes]."""
        return self.need_bytes - self.capacity_bytes

    def __str__(self) -> str:
        return (
            f"OOM at {self.device}.{self.tier}: {self.missing_bytes} bytes missing "
            f"(the run needs {self.need_bytes}, the tier holds {self.capacity_bytes})"
        )

    def to_json(self) -> dict[str, Any]:
        """The object of ``--json``."""
        return {
            "device": self.device,
            "tier": self.tier,
            "need_bytes": self.need_bytes,
            "missing_bytes": self.missing_bytes,
            "capacity_bytes": self.capacity_bytes,
        }


@dataclass(frozen=True, slots=True)
class Overflow:
    """What did not fit when a run ran out of memory.

    Attributes:
        what: the buffer, or what else asked for room.
        need_bytes: how much it asked for [bytes].
        line: file and line of the strategy that asked; "" where windtunnel did.
    """

    what: str
    need_bytes: int
    line: str

    @classmethod
    def of(cls, error: OutOfMemory) -> Overflow:
        """What `error`, which came through the strategy, is about."""
        line = author_of(error)
        return cls(error.what, error.need_bytes, "" if line is None else line_text(line))


@dataclass(slots=True)
class Outcome:
    """What a run gave.

    Attributes:
        ended: ``ok``, or the text of how it failed (``OOM at cpu.dram: 123 bytes missing ...``).
        time_s: virtual time, always [s].
        wall_s: what it took on this machine [s].
        paced_s: device time of a paced live run, None otherwise [s].
        phases: duration of each marked phase in virtual time, in order [s].
        resources: use of every resource that was used at all, busiest first.
        op_times: by label, longest first.
        peak_bytes: highest occupancy by ``device.tier`` [bytes].
        flash: bytes read from and written to every flash tier, by ``device.tier``.
        results: what each program returned; nothing where one did not come to its end.
        figures: what programs told people, by name.
        notes: sentences that programs told people.
        shortages: tiers that are too small; None when the run did not run out of memory.
        overflow: what did not fit; None when the run did not run out of memory.
        link_changes: every declared change of a link and whether it happened.
        part_changes: the same of tiers, ports and devices.
        overruns: ops of a paced run that the machine could not finish in time.
    """

    ended: str = "ok"
    time_s: float = 0.0
    wall_s: float = 0.0
    paced_s: float | None = None
    phases: dict[str, float] = field(default_factory=dict)
    paced_phases: dict[str, float] = field(default_factory=dict)
    resources: tuple[ResourceUse, ...] = ()
    op_times: tuple[OpTimes, ...] = ()
    peak_bytes: Mapping[str, int] = field(default_factory=dict)
    flash: Mapping[str, FlashUse] = field(default_factory=dict)
    results: tuple[ProgramResult | None, ...] = ()
    figures: dict[str, Figure] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    shortages: tuple[Shortage, ...] | None = None
    overflow: Overflow | None = None
    link_changes: tuple[Mapping[str, Any], ...] = ()
    part_changes: tuple[Mapping[str, Any], ...] = ()
    overruns: int = 0

    @property
    def ok(self) -> bool:
        """Whether the run came to its end."""
        return self.ended == "ok"

    def run_out(self, error: OutOfMemory) -> None:
        """Makes running out of memory the outcome."""
        self.ended, self.overflow, self.shortages = str(error), Overflow.of(error), (Shortage.of(error),)

    @property
    def result(self) -> ProgramResult | None:
        """What the first program returned that returned anything."""
        return next((result for result in self.results if result is not None), None)

    def reports(self) -> dict[str, Any]:
        """Results, figures, notes, shortages and changes of links flattened: ``reports`` of ``--json``."""
        found: dict[str, Any] = {}
        for result in self.results:
            found |= {} if result is None else result.flat()
        found |= self.figures
        if self.notes:
            found["note"] = "; ".join(self.notes)
        if self.shortages is not None:
            found["out_of_memory"] = [one.to_json() for one in self.shortages]
        if self.overflow is not None:
            found["overflow"] = asdict(self.overflow)
        if self.link_changes:
            found["link_changes"] = [dict(change) for change in self.link_changes]
        if self.part_changes:
            found["part_changes"] = [dict(change) for change in self.part_changes]
        return found

    def short_reports(self) -> dict[str, str | int | float]:
        """Of `reports` what fits into a cell."""
        return {name: value for name, value in self.reports().items() if isinstance(value, str | int | float)}
