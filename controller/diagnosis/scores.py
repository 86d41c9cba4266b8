"""From verdicts to figures: what was found, what was blamed wrongly, how soon, and how often for nothing.

A hit is a verdict on the right component between the onset and the end of its fault and a grace; it counts once a
fault. Every other component that is blamed is a victim. A fault that is not found counts with the time that it was
there for (it is censored), so that a detector gains nothing by missing what is hard.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from math import inf, isfinite, log

from controller.diagnosis.entries import KINDS, Injected
from controller.diagnosis.truth import DISTANCES, Truth
from controller.diagnosis.twin import TwinRun, Watched
from controller.diagnosis.verdicts import Suspect

GRACE_S = 30.0
CONFIDENCE = 0.95


@dataclass(slots=True)
class EntryScore:
    """How one detector did on one entry.

    Attributes:
        found: for each fault, after how long its component was named [s]; None where it was not.
        there_s: for each fault, how long it could have been found [s].
        right: components named that are guilty.
        victims: components named that are not.
        distances: of the components named, from the nearest fault.
    """

    found: list[float | None] = field(default_factory=list)
    there_s: list[float] = field(default_factory=list)
    right: int = 0
    victims: int = 0
    distances: dict[str, int] = field(default_factory=dict)


def score_entry(run: TwinRun, watched: Watched, truth: Truth, grace_s: float, patience_s: float) -> EntryScore:
    """How a detector did on an entry that was observable."""
    score = EntryScore()
    raised = [(at_s, verdict.suspect) for at_s, verdict in watched.said if verdict.raised and at_s >= run.onset_at]
    until = (run.end_at if isfinite(run.end_at) else run.onset_at + patience_s) + grace_s
    for fault in run.entry.faults:
        right = truth.right(fault)
        at = min((at_s for at_s, suspect in raised if suspect in right and at_s <= until), default=inf)
        score.found.append(at - run.onset_at if isfinite(at) else None)
        score.there_s.append(until - run.onset_at)
    for suspect in dict.fromkeys(suspect for _, suspect in raised):
        near = _nearest(suspect, run.entry.faults, truth)
        score.distances[near] = score.distances.get(near, 0) + 1
        if near == "right":
            score.right += 1
        else:
            score.victims += 1
    return score


def _nearest(suspect: Suspect, faults: Sequence[Injected], truth: Truth) -> str:
    return min((truth.distance(suspect, fault) for fault in faults), key=DISTANCES.index)


@dataclass(frozen=True, slots=True)
class Quiet:
    """What a detector said while nothing was wrong.

    Attributes:
        hours: that it watched, on the clock of the job.
        alarms: verdicts that it raised.
    """

    hours: float
    alarms: int

    @property
    def per_hour(self) -> float | None:
        """False alarms an hour; None where it did not watch."""
        return self.alarms / self.hours if self.hours else None

    @property
    def bounds_per_hour(self) -> tuple[float, float] | None:
        """Exact interval of 95 % for a Poisson rate [1/h]."""
        if not self.hours:
            return None
        tail = (1.0 - CONFIDENCE) / 2.0
        low = _mean_with(self.alarms - 1, 1.0 - tail) if self.alarms else 0.0
        return low / self.hours, _mean_with(self.alarms, tail) / self.hours


def _mean_with(most: int, probability: float) -> float:
    """Mean of the Poisson distribution that gives at most `most` with `probability`; by halving."""
    low, high = 0.0, 10.0 * (most + 2)
    for _ in range(200):
        mean = (low + high) / 2.0
        low, high = (mean, high) if _at_most(most, mean) > probability else (low, mean)
    return (low + high) / 2.0


def _at_most(most: int, mean: float) -> float:
    from math import exp, lgamma

    return sum(exp(number * log(mean) - mean - lgamma(number + 1)) for number in range(most + 1)) if mean else 1.0


@dataclass(frozen=True, slots=True)
class CampaignRow:
    """One cell of detector x fault x severity; the fields are those of ``--json``.

    Attributes:
        detector, fault, severity: which.
        n: faults that could be observed.
        unobservable: entries whose telemetry equals the twin's.
        recall: share of the faults found.
        precision: share of the components named that are guilty.
        right_component: share of the faults of entries with a verdict whose component was named.
        victims: components named that are not guilty.
        time_to_detect_s: mean, with the faults that were not found counted as long as they were there [s].
        p95_s: the 95th percentile of the same [s].
        false_alarms_per_hour, false_alarms_low, false_alarms_high: over the healthy runs, with an interval of 95 %.
        lost_s: what the faults cost the job on average; None where it stood still [s].
        healthy_machines: healthy devices that would have been taken out.
        distances: components named, by how far they are from the guilty one.
    """

    detector: str
    fault: str
    severity: float
    n: int
    unobservable: int
    recall: float | None
    precision: float | None
    right_component: float | None
    victims: int
    time_to_detect_s: float | None
    p95_s: float | None
    false_alarms_per_hour: float | None
    false_alarms_low: float | None
    false_alarms_high: float | None
    lost_s: float | None
    healthy_machines: int
    distances: Mapping[str, int]


def rows_of(
    runs: Sequence[TwinRun], scores: Mapping[str, Sequence[EntryScore | None]], quiet: Mapping[str, Quiet]
) -> list[CampaignRow]:
    """The table of a campaign.

    Args:
        runs: all entries.
        scores: of each detector, one for each entry; None for what could not be observed.
        quiet: of each detector, what it said while nothing was wrong.
    """
    cells = sorted({(run.entry.kind, run.entry.severity) for run in runs}, key=_place)
    found = []
    for detector, of_entry in scores.items():
        for kind, severity in cells:
            here = [
                (run, score)
                for run, score in zip(runs, of_entry, strict=True)
                if (run.entry.kind, run.entry.severity) == (kind, severity)
            ]
            found.append(_row(detector, kind, severity, here, quiet[detector]))
    return found


def _place(cell: tuple[str, float]) -> tuple[int, str, float]:
    kinds = list(KINDS)
    return (kinds.index(cell[0]) if cell[0] in kinds else len(kinds)), cell[0], cell[1]


def _row(
    detector: str, kind: str, severity: float, here: Sequence[tuple[TwinRun, EntryScore | None]], quiet: Quiet
) -> CampaignRow:
    seen = [score for _, score in here if score is not None]
    times = [after for score in seen for after in score.found]
    caught = [after for after in times if after is not None]
    waits = sorted(
        there if after is None else after
        for score in seen
        for after, there in zip(score.found, score.there_s, strict=True)
    )
    right, victims = sum(score.right for score in seen), sum(score.victims for score in seen)
    blamed = [after for score in seen if score.right + score.victims for after in score.found]
    lost = [run.lost_s for run, score in here if score is not None and isfinite(run.lost_s)]
    bounds = quiet.bounds_per_hour
    return CampaignRow(
        detector, kind, severity, len(times), sum(score is None for _, score in here),
        _share(len(caught), len(times)), _share(right, right + victims),
        _share(sum(after is not None for after in blamed), len(blamed)), victims,
        sum(waits) / len(waits) if waits else None, waits[max(-(-len(waits) * 95 // 100) - 1, 0)] if waits else None,
        quiet.per_hour, None if bounds is None else bounds[0], None if bounds is None else bounds[1],
        sum(lost) / len(lost) if lost else None, victims, _added(score.distances for score in seen),
    )  # fmt: skip


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def _added(counts: Iterable[Mapping[str, int]]) -> dict[str, int]:
    found: dict[str, int] = {}
    for each in counts:
        for name, count in each.items():
            found[name] = found.get(name, 0) + count
    return {name: found[name] for name in DISTANCES if name in found}
