"""What happened when: the record that reports draw and export.

The recorder keeps at most `limit` spans, counts the others, and says so: a generation of a thousand steps has millions.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from controller.execute.op_log import OpLog
from controller.execute.strips import Strips


@dataclass(frozen=True, slots=True)
class Span:
    """One op on one track.

    Attributes:
        device: process of the trace (``gpu``, ``csd0``, ``fabric``).
        track: queue, link or tier (``stream``, ``csd0.pcie-root>``, ``flash``).
        name: label of the op.
        start_at, end_at: device time [s].
        detail: what a click on it shows.
    """

    device: str
    track: str
    name: str
    start_at: float
    end_at: float
    detail: dict[str, str | int | float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Level:
    """Occupancy of a tier from an instant on [bytes]."""

    device: str
    tier: str
    at: float
    used_bytes: int


@dataclass(slots=True)
class Trace:
    """Spans and levels of a run, in the order in which they were recorded.

    Attributes:
        limit: most spans that are kept.
        spans, levels: what happened.
        dropped: spans that came after the limit.
        arrows: indices into `spans`: what an op waited for last, and the op.
        strips: how busy each track was over the whole run, past the limit too; None where nobody asked for it.
        log: what every op took; None where nobody asked for it.
    """

    limit: int = 200_000
    spans: list[Span] = field(default_factory=list)
    levels: list[Level] = field(default_factory=list)
    dropped: int = 0
    arrows: list[tuple[int, int]] = field(default_factory=list)
    strips: Strips | None = None
    log: OpLog | None = None

    def add(self, span: Span) -> None:
        """Keeps `span` if there is room."""
        if len(self.spans) < self.limit:
            self.spans.append(span)
        else:
            self.dropped += 1
