"""What windtunnel recommends: waits for hangs, two windows for slowness, and blame from the pairs.

Follows: C4D's separation of waiting and transferring, the wavefront's graph of waits, Greyhound's comparison with the
    past, with thresholds for the mean over a window instead of single steps.
Differs: thresholds are set for noise that is autocorrelated (`controller.diagnosis.slowness`).
"""

from __future__ import annotations

from math import inf

from controller.diagnosis.blame import blame_pairs
from controller.diagnosis.slowness import CLEAR_RATIO, AgainstPast, AgainstPeers
from controller.diagnosis.stall import StallWatch
from controller.diagnosis.telemetry import JobStarted, OperationRecords, TelemetryEvent, TransportRecords
from controller.diagnosis.verdicts import Answer, Suspect, Verdict

JUDGE_EVERY_S = 1.0
SILENT_S = 3.5
"""Three signs of life that did not come, and what their way takes."""
STUCK_S = 60.0
"""An operation that stands so long while all ranks live: longer than checkpoints of two ranks differ."""


class DefaultDetector:
    """Names devices that hang, are dead or slow, and paths and attachments that are slow or dead."""

    def __init__(self) -> None:
        self._stall = StallWatch()
        self._peers: AgainstPeers | None = None
        self._past = AgainstPast()
        self._raised: dict[Suspect, Verdict] = {}
        self._step_at: dict[int, float] = {}
        self._rank_of: dict[str, int] = {}
        self._judged_at = -inf
        self._judged = 0

    def observe(self, event: TelemetryEvent | None, now: float) -> Answer:
        """Gathers, and judges once a second."""
        if event is not None:
            self._gather(event)
            return Answer(wake_at=max(self._judged_at + JUDGE_EVERY_S, now))
        self._judged_at = now
        changed = (*self._stalls(now), *self._slow(now))
        return Answer(changed, now + JUDGE_EVERY_S)

    def _gather(self, event: TelemetryEvent) -> None:
        self._stall.add(event)
        if isinstance(event, JobStarted):
            self._peers = AgainstPeers(event.roles)
            self._rank_of = {device: rank for rank, device in enumerate(event.devices)}
        elif isinstance(event, OperationRecords) and self._peers is not None:
            self._step_at[event.step] = min(self._step_at.get(event.step, inf), event.at_s)
            self._peers.add(event.step, event.ranks, event.own_s)
        elif isinstance(event, TransportRecords):
            self._past.add(event.step, event.what, event.source, event.target, event.transferred_s)

    def _stalls(self, now: float) -> tuple[Verdict, ...]:
        if any(each.severity == inf for each in self._raised.values()):
            return ()
        if not (
            now - self._stall.since > STUCK_S or (now - self._stall.since > 1.0 and self._stall.silent(now, SILENT_S))
        ):
            return ()
        return self._raise(self._stall.verdicts(now, SILENT_S, STUCK_S))

    def _slow(self, now: float) -> tuple[Verdict, ...]:
        if self._peers is None or self._stall.job is None:
            return ()
        before = self._peers.pending
        if before <= self._judged:
            return ()
        self._judged = before
        self._peers.close(before)
        self._past.close(before)
        devices = self._stall.job.devices
        slow, level = self._peers.slowness.now()
        found = [
            Verdict(
                Suspect("device", devices[each.series]), "slow", self._step_at.get(each.since, 0.0), each.ratio, 0.95,
                f"computes {each.ratio:.2f} times as long as its peers",
            )
            for each in slow
        ]  # fmt: skip
        ranks = self._rank_of
        quick = {each for each in self._raised if each.kind == "device" and level[ranks[each.name]] < CLEAR_RATIO}
        judge = self._past.slowness
        if judge is not None:
            slow, level = judge.now()
            bad = {self._past.pairs[each.series][:2]: each.ratio for each in slow}
            since = min((self._step_at.get(each.since, 0.0) for each in slow), default=0.0)
            blamed = blame_pairs(bad, [pair[:2] for pair in self._past.pairs], devices) if bad else {}
            found += [
                Verdict(
                    suspect, "slow transfer", since, ratio, 0.9, f"messages take {ratio:.2f} times as long as before"
                )
                for suspect, ratio in sorted(blamed.items())
            ]
            quick |= {suspect for suspect in self._raised if suspect.kind in ("nic", "path") and suspect not in blamed}
        self._forget()
        return (*self._raise(found), *self._clear(quick, now))

    def _raise(self, verdicts: list[Verdict] | tuple[Verdict, ...]) -> tuple[Verdict, ...]:
        new = tuple(each for each in verdicts if each.suspect not in self._raised)
        self._raised |= {each.suspect: each for each in new}
        return new

    def _clear(self, quick: set[Suspect], now: float) -> tuple[Verdict, ...]:
        gone = [self._raised[suspect] for suspect in sorted(quick) if suspect in self._raised]
        gone = [each for each in gone if each.kind.startswith("slow")]
        for each in gone:
            del self._raised[each.suspect]
        return tuple(
            Verdict(
                each.suspect,
                each.kind,
                each.onset_s,
                each.severity,
                each.confidence,
                "as fast as its peers again",
                False,
            )
            for each in gone
        )

    def _forget(self) -> None:
        while len(self._step_at) > 400:
            del self._step_at[min(self._step_at)]
