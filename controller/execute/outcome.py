"""How a run ended, in one type for both executors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from controller.execute.flash_traffic import FlashUse


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
        reports: what the program reported.
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
    reports: dict[str, Any] = field(default_factory=dict)
    overruns: int = 0

    @property
    def ok(self) -> bool:
        """Whether the run came to its end."""
        return self.ended == "ok"
