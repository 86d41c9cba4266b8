"""Runs an entry twice with the same random numbers, with and without its faults, and shows detectors the first.

The difference between the two is what the faults did. Where the telemetry of both is equal to the last bit nobody could
have noticed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from math import inf

import numpy as np

from controller.diagnosis.entries import CampaignEntry, Injected
from controller.diagnosis.executed import Changes
from controller.diagnosis.imperfect import Imperfect
from controller.diagnosis.noise import NoiseBlock
from controller.diagnosis.probing import Prober
from controller.diagnosis.replay import AGENT_S, HEALTHY, HEARTBEAT_S, Replay, Strike, agent_report
from controller.diagnosis.telemetry import TelemetryEvent
from controller.diagnosis.verdicts import Detector, Verdict
from controller.diagnosis.workloads import Workload


@dataclass(slots=True)
class Watched:
    """What one detector said about a run.

    Attributes:
        said: verdicts with the instant of each [s].
        probes: how many it asked for.
        probing_s: how long these held up the job [s].
    """

    said: list[tuple[float, Verdict]] = field(default_factory=list)
    probes: int = 0
    probing_s: float = 0.0


@dataclass(slots=True)
class TwinRun:
    """An entry that has been run twice.

    Attributes:
        entry: what was injected.
        onset_at, end_at: when the faults began and ended [s]; inf for what lasts for good.
        watched: what each detector said.
        is_observable: whether any telemetry differs from the twin's.
        lost_s: how much longer the steps took than the twin's [s]; inf where the job stood still.
    """

    entry: CampaignEntry
    onset_at: float = 0.0
    end_at: float = inf
    watched: dict[str, Watched] = field(default_factory=dict)
    is_observable: bool = False
    lost_s: float = 0.0


def strike_of(faults: Sequence[Injected], workload: Workload) -> Strike:
    """What faults do to a step."""
    rank_of = {device: rank for rank, device in enumerate(workload.devices)}
    slow = [fault for fault in faults if fault.kind == "slow"]
    links = [fault for fault in faults if fault.kind in ("bandwidth", "dead_link")]
    ratios = tuple(sorted((each.target, 0.0 if each.kind == "dead_link" else 1.0 / each.severity) for each in links))
    return Strike(
        Changes(tuple(sorted((each.target, each.severity) for each in slow)), ratios),
        tuple(sorted((rank_of[each.target], each.severity) for each in slow)),
        tuple(sorted(rank_of[each.target] for each in faults if each.kind in ("hang", "kill", "freeze"))),
    )


def run_twins(
    entry: CampaignEntry,
    workload: Workload,
    hosts: tuple[str, ...],
    compute_s: float,
    noise: Sequence[NoiseBlock],
    detectors: Mapping[str, Detector],
    patience_s: float,
    imperfect: Imperfect,
) -> TwinRun:
    """Runs an entry.

    Args:
        entry: what is injected.
        workload: what a step does.
        hosts: of each rank.
        compute_s: of a step [s].
        noise: of both runs.
        detectors: that watch, each new.
        patience_s: how long is waited after the job has come to a stand [s].
        imperfect: what the telemetry itself lacks.
    """
    found = TwinRun(entry, watched={name: Watched() for name in detectors})
    struck = healthy = Replay(workload, hosts, compute_s, noise)
    strike = strike_of(entry.faults, workload)
    prober = Prober(workload, compute_s)
    audience = Audience(detectors, found.watched, prober)
    audience.hear(struck.started)
    silent = tuple(rank for rank, each in _by_rank(entry, workload) if each.kind in ("kill", "freeze"))
    last = entry.onset_step + entry.steps
    beat_at = 0.0
    for step in range(last + 12):
        is_on = entry.onset_step <= step < last
        prober.strike = strike if is_on else HEALTHY
        if step == entry.onset_step:
            found.onset_at = struck.now
            healthy = struck.copy()  # until here they are one
        elif step == last:
            found.end_at = struck.now
        events = struck.step(step, strike if is_on else HEALTHY)
        if healthy is not struck:
            expected = healthy.step(step)
            found.is_observable |= is_on and not found.is_observable and not _equal(events, expected)
        mute = silent if is_on else ()
        for event in events:
            while beat_at <= event.at_s:
                audience.hear(struck.heartbeats(beat_at, mute))
                beat_at += HEARTBEAT_S
            audience.hear(imperfect.seen(event))
        if struck.stopped:
            break
    if struck.stopped:
        found.lost_s = inf
        found.is_observable = True
        _wait(audience, struck, entry, workload, silent, beat_at, patience_s)
    else:
        found.lost_s = struck.now - healthy.now
        audience.until(struck.now)
    return found


def _wait(
    audience: Audience,
    job: Replay,
    entry: CampaignEntry,
    workload: Workload,
    silent: Sequence[int],
    beat_at: float,
    for_s: float,
) -> None:
    """Lets time pass in which nothing happens but signs of life."""
    gone = [rank for rank, fault in _by_rank(entry, workload) if fault.kind == "kill"]
    frozen = [rank for rank, fault in _by_rank(entry, workload) if fault.kind == "freeze"]
    end_at = beat_at + for_s
    reported = not (gone or frozen) or entry.number % 2 == 0  # every second host has an agent
    report_at = beat_at + AGENT_S
    while beat_at <= end_at:
        audience.hear(job.heartbeats(beat_at, silent))
        if not reported and beat_at >= report_at:
            audience.hear(agent_report(beat_at, gone, frozen))
            reported = True
        beat_at += HEARTBEAT_S
    audience.until(end_at)


def _by_rank(entry: CampaignEntry, workload: Workload) -> Iterator[tuple[int, Injected]]:
    rank_of = {device: rank for rank, device in enumerate(workload.devices)}
    for fault in entry.faults:
        if fault.target in rank_of:
            yield rank_of[fault.target], fault


class Audience:
    """Detectors that are given events, and woken when they asked to be.

    Args:
        detectors: by name.
        watched: where what they say goes.
        prober: makes the probes that they ask for.
    """

    def __init__(self, detectors: Mapping[str, Detector], watched: Mapping[str, Watched], prober: Prober) -> None:
        self._detectors, self._watched, self._prober = detectors, watched, prober
        self._wake_at = dict.fromkeys(detectors, inf)

    def hear(self, event: TelemetryEvent) -> None:
        """Gives an event to all, after waking those whose time has come before it."""
        self.until(event.at_s)
        for name, detector in self._detectors.items():
            self._answer(name, detector, event, event.at_s)

    def until(self, now: float) -> None:
        """Wakes everybody whose time comes before `now` [s]."""
        for name, detector in self._detectors.items():
            while self._wake_at[name] < now:
                at_s = self._wake_at[name]
                self._wake_at[name] = inf
                self._answer(name, detector, None, at_s)

    def _answer(self, name: str, detector: Detector, event: TelemetryEvent | None, now: float) -> None:
        answer = detector.observe(event, now)
        self._wake_at[name] = min(self._wake_at[name], answer.wake_at) if event is not None else answer.wake_at
        watched = self._watched[name]
        watched.said += [(now, verdict) for verdict in answer.verdicts]
        for probe in answer.probes:
            watched.probes += 1
            result, took_s = self._prober.measure(probe, now)
            watched.probing_s += took_s
            self._answer(name, detector, result, result.at_s)


def _equal(events: Sequence[TelemetryEvent], others: Sequence[TelemetryEvent]) -> bool:
    if len(events) != len(others):
        return False
    for event, other in zip(events, others, strict=True):
        for each in fields(event):
            if not np.array_equal(getattr(event, each.name), getattr(other, each.name)):
                return False
    return True
