"""What every detector of the table must do: order means nothing, a healthy job is left alone, `wake_at` is obeyed."""

from dataclasses import fields, replace

import numpy as np
import pytest

from controller.diagnosis.campaign import COMPUTE_S
from controller.diagnosis.detectors.table import DETECTORS
from controller.diagnosis.entries import CampaignEntry, Injected
from controller.diagnosis.probing import Prober
from controller.diagnosis.replay import HEALTHY, HEARTBEAT_S, Replay
from controller.diagnosis.telemetry import OperationRecords, SignsOfLife, TransportRecords
from controller.diagnosis.twin import strike_of
from tests.support.small_jobs import campaign

NEVER_WRONG_WHEN_HEALTHY = ("default", "watchdog", "phi_accrual", "wavefront", "greyhound")
FAULTS = {"kill": Injected("kill", "gpu3", 1.0), "slow": Injected("slow", "gpu5", 4.0), "none": None}


def events_of(fault, steps=70, onset=40):
    """Events of a job and of the silence after it, in order."""
    job = campaign("ring", 8)
    noise = [job.noise((1, 2)).block(64) for _ in range(2)]
    replay = Replay(job.workload, job.hosts, COMPUTE_S, noise)
    strike = HEALTHY if fault is None else strike_of(CampaignEntry(0, (fault,), 0, 0).faults, job.workload)
    found, beat_at, silent = [replay.started], 0.0, ()
    for step in range(steps):
        on = step >= onset
        silent = strike.absent if on else ()
        events = replay.step(step, strike if on else HEALTHY)
        for event in events:
            while beat_at <= event.at_s:
                found.append(replay.heartbeats(beat_at, silent))
                beat_at += HEARTBEAT_S
            found.append(event)
        if replay.stopped:
            break
    for _ in range(720 if replay.stopped else 0):
        found.append(replay.heartbeats(beat_at, silent))
        beat_at += HEARTBEAT_S
    return found, strike


def shuffled(event, random):
    """The same event with its ranks or pairs in another order."""
    if not isinstance(event, OperationRecords | TransportRecords | SignsOfLife):
        return event
    columns = [each.name for each in fields(event) if isinstance(getattr(event, each.name), np.ndarray)]
    order = random.permutation(len(getattr(event, columns[0])))
    return replace(event, **{name: getattr(event, name)[order] for name in columns})


def said(name, events, strike):
    """What a detector says to events, woken when it asks to be."""
    job = campaign("ring", 8)
    detector, prober = DETECTORS[name].make(), Prober(job.workload, COMPUTE_S)
    prober.strike = strike
    wake_at, verdicts = np.inf, []

    def take(answer):
        verdicts.extend(answer.verdicts)
        for probe in answer.probes:
            take(detector.observe(prober.measure(probe, now)[0], now))

    for event in events:
        while wake_at < event.at_s:
            now = wake_at
            answer = detector.observe(None, now)
            assert answer.wake_at > now, "a detector that wants to be woken at once would never let time pass"
            wake_at = answer.wake_at
            take(answer)
        now = event.at_s
        answer = detector.observe(event, now)
        wake_at = min(wake_at, answer.wake_at)
        take(answer)
    return verdicts


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("name", DETECTORS)
def test_the_order_of_events_and_ranks_changes_no_verdict(name, fault) -> None:
    events, strike = events_of(FAULTS[fault])
    random = np.random.default_rng(5)
    mixed = [shuffled(event, random) for event in events]
    by_time: dict[float, list] = {}
    for event in mixed[1:]:
        by_time.setdefault(event.at_s, []).append(event)
    again = [mixed[0], *(event for at_s in sorted(by_time) for event in reversed(by_time[at_s]))]
    assert said(name, events, strike) == said(name, again, strike)


@pytest.mark.parametrize("name", NEVER_WRONG_WHEN_HEALTHY)
def test_a_healthy_job_is_left_alone(name) -> None:
    events, strike = events_of(None)
    assert said(name, events, strike) == []


@pytest.mark.parametrize("name", [name for name, entry in DETECTORS.items() if "kill" in entry.finds])
def test_who_speaks_on_silence_speaks_at_wake_at(name) -> None:
    events, strike = events_of(FAULTS["kill"])
    verdicts = said(name, events, strike)
    assert {str(each.suspect) for each in verdicts if each.kind in ("dead", "hang")} == {"device gpu3"}


@pytest.mark.parametrize("name", ["default", "greyhound"])
def test_a_slow_device_is_named(name) -> None:
    events, strike = events_of(FAULTS["slow"])
    assert {str(each.suspect) for each in said(name, events, strike)} == {"device gpu5"}


@pytest.mark.parametrize("name", DETECTORS)
def test_verdicts_are_complete(name) -> None:
    for fault in FAULTS.values():
        events, strike = events_of(fault)
        for each in said(name, events, strike):
            assert 0.0 <= each.confidence <= 1.0
            assert each.severity >= 1.0
            assert each.evidence
            assert each.onset_s <= events[-1].at_s + HEARTBEAT_S
