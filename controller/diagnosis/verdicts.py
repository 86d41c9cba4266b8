"""What a detector answers: verdicts, when it wants to be asked again, and probes that it wants made."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from typing import Protocol

from controller.diagnosis.telemetry import TelemetryEvent


@dataclass(frozen=True, slots=True, order=True)
class Suspect:
    """A component as a detector can name it.

    Attributes:
        kind: ``device``, ``nic`` (what joins a device to the others), ``path`` (from a device to another), ``host`` or
            ``communicator``.
        name: of the device, the host or the communicator; of a path ``gpu0->gpu1``.
    """

    kind: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind} {self.name}"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a detector claims.

    Attributes:
        suspect: the component.
        kind: ``hang``, ``dead`` (killed or frozen), ``slow``, ``slow transfer`` or ``dead link``.
        onset_s: since when [s].
        severity: times slower; inf where nothing goes on.
        confidence: from 0 to 1.
        evidence: what was seen, a clause.
        raised: False when the verdict is taken back.
    """

    suspect: Suspect
    kind: str
    onset_s: float
    severity: float
    confidence: float
    evidence: str
    raised: bool = True


@dataclass(frozen=True, slots=True)
class Probe:
    """A measurement that a detector asks for; it takes time on the ranks that it measures.

    Attributes:
        kind: ``gemm`` or ``p2p``.
        pairs: ranks that take part; of ``gemm`` the same rank twice. Pairs of one probe run at once.
    """

    kind: str
    pairs: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class Answer:
    """What a detector says to an event.

    Attributes:
        verdicts: raised or cleared now.
        wake_at: when it wants to be called without an event [s]; inf for never.
        probes: to be made now.
    """

    verdicts: tuple[Verdict, ...] = ()
    wake_at: float = inf
    probes: tuple[Probe, ...] = ()


NOTHING = Answer()


class Detector(Protocol):
    """Judges a job by its telemetry alone.

    Records of one instant come in any order, so a detector gathers what it is given and judges when it is woken.
    """

    def observe(self, event: TelemetryEvent | None, now: float) -> Answer:
        """Takes an event, or judges.

        Args:
            event: what was recorded; None when the detector had asked to be woken by now.
            now: instant [s].
        """
        ...
