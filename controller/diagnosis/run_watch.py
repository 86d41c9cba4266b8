"""Shows detectors the telemetry of one run with faults, and says which of their verdicts name what is guilty.

A workload of ``run`` is watched as it went, from its start to its end. A call of a collective is watched as a job that
makes it over and over: `HEALTHY_CALLS` as the twin has them, then `STRUCK_CALLS` with the faults, unless one stands
still. When the job stands still, time goes on without it until the slowest detector should have spoken.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from controller.diagnosis.detectors.table import chosen
from controller.diagnosis.executed import Changes, Executions
from controller.diagnosis.probing import Prober
from controller.diagnosis.replay import HEARTBEAT_S, Strike
from controller.diagnosis.run_telemetry import RunTelemetry
from controller.diagnosis.telemetry import ProbeResults, SignsOfLife
from controller.diagnosis.twin import Audience, Watched
from controller.diagnosis.verdicts import Detector, Probe, Suspect, Verdict
from controller.diagnosis.witness import Witness
from controller.execute.op_log import OpLog
from controller.faults.effects import Effects, EffectsOf
from controller.faults.targets import Struck, struck
from controller.faults.timeline import Timeline
from controller.topology.fault import Fault
from controller.topology.schema import Topology

HEALTHY_CALLS, STRUCK_CALLS = 60, 120
PROBED_STEP_S = 1.0
"""Compute of a step, of which a probe's GEMM takes a share [s]; assumed."""
SETTLE_S = 2.0
"""After the end of a run detectors are asked once more [s]."""


@dataclass(frozen=True, slots=True)
class RunVerdict:
    """A verdict on a run.

    Attributes:
        detector: who said it.
        at_s: when, from the start of what was watched [s].
        verdict: what.
        right: whether it names what is guilty; None for a link that ends at no device.
    """

    detector: str
    at_s: float
    verdict: Verdict
    right: bool | None


@dataclass(frozen=True, slots=True)
class WatchedRun:
    """What detectors made of a run.

    Attributes:
        verdicts: in the order of instants.
        struck_at_s: instant of the watched job at which times of faults count from [s].
        stopped_at_s: when the watched job ended or stood still [s].
        given_up_at_s: when nobody was asked any more [s].
        stopped: whether it stood still.
        devices: of the ranks.
        delays_s: how long rank i waited for and received from rank j [s] (n, n); NaN for nothing.
        waits, guilty: who waited for whom at the end, and who is waited for and waits for nobody.
        undetected: faults that nobody named.
    """

    verdicts: tuple[RunVerdict, ...]
    struck_at_s: float
    stopped_at_s: float
    given_up_at_s: float
    stopped: bool
    devices: tuple[str, ...]
    delays_s: NDArray[np.float64]
    waits: Sequence[tuple[str, str]]
    guilty: Sequence[str]
    undetected: tuple[Fault, ...]


@dataclass(slots=True)
class _Ranks:
    """What a prober measures."""

    executions: Executions
    devices: tuple[str, ...]


@dataclass(slots=True)
class _FaultsNow:
    """Faults of a topology, from an instant of the watched job on."""

    timeline: Timeline
    begin_s: float
    _effects: EffectsOf = field(init=False)
    _known: dict[int, Effects] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._effects = EffectsOf(self.timeline)

    def at(self, now: float) -> Effects:
        number = int(np.searchsorted(self._effects.instants, now - self.begin_s, side="right"))
        if number not in self._known:
            self._known[number] = self._effects.at(self._effects.instants[number - 1]) if number else Effects()
        return self._known[number]

    def silent(self, device: str, now: float) -> bool:
        effects = self.at(now)
        return device in effects.frozen or device in effects.dead_devices


class _RunProber(Prober):
    """Measures the hardware as its faults have it at the instant of a probe."""

    def __init__(self, topology: Topology, devices: tuple[str, ...], faults: _FaultsNow) -> None:
        super().__init__(_Ranks(Executions(topology), devices), PROBED_STEP_S)
        self._devices, self._faults = devices, faults

    def measure(self, probe: Probe, now: float) -> tuple[ProbeResults, float]:
        effects = self._faults.at(now)
        slow = tuple(sorted((device, 1.0 / ratio) for device, ratio in effects.compute.items()))
        links = tuple(sorted((part.name, left) for part, left in effects.bandwidth.items() if part.kind == "link"))
        ranks = tuple((self._devices.index(name), times) for name, times in slow if name in self._devices)
        self.strike = Strike(Changes(slow, links), ranks)
        return super().measure(probe, now)


def watch(
    topology: Topology,
    faults: tuple[Fault, ...],
    log: OpLog,
    detectors: Sequence[str],
    healthy: OpLog | None = None,
) -> WatchedRun:
    """Shows detectors a run.

    Args:
        topology: as declared.
        faults: of the run.
        log: of the run with the faults, or of one call with them.
        detectors: names of the table.
        healthy: of one call without them, which is watched over and over before; None for a whole run.

    Raises:
        UnknownDetector: names the nearest one.
    """
    entries = chosen(detectors)
    before = None if healthy is None else healthy.repeated(HEALTHY_CALLS)
    begin_s = 0.0 if before is None else before.end_s
    whole = log
    if before is not None:
        whole = (log if log.is_open else log.repeated(STRUCK_CALLS)).after(before)
    now = _FaultsNow(Timeline(topology, faults), begin_s)
    told = RunTelemetry(topology, whole, now.silent)
    watched = {name: Watched() for name in (*entries, "")}
    witness = Witness()
    listeners: dict[str, Detector] = {name: each.make() for name, each in entries.items()} | {"": witness}
    audience = Audience(listeners, watched, _RunProber(topology, told.devices, now))
    audience.hear(told.started)
    beat_at, end_s = 0.0, whole.end_s
    entered = np.zeros(len(told.devices), np.int64)
    for event in told.events():
        while beat_at <= event.at_s:
            audience.hear(_beat(beat_at, told.devices, now, entered))
            beat_at += HEARTBEAT_S
        audience.hear(event)
        end_s = max(end_s, event.at_s)
    until_s = end_s + SETTLE_S
    if log.is_open:
        until_s = max(end_s, beat_at) + max(each.patience_s for each in entries.values())
        while beat_at <= until_s:
            audience.hear(_beat(beat_at, told.devices, now, entered))
            beat_at += HEARTBEAT_S
    audience.until(until_s)
    del watched[""]
    waits, guilty = witness.waits() if log.is_open else ([], [])
    hits = [(fault, struck(topology, fault.target)) for fault in faults]
    verdicts = tuple(
        RunVerdict(name, at_s, verdict, _right(topology, verdict.suspect, [hit for _, hit in hits]))
        for at_s, name, verdict in _in_order(watched)
    )
    missed = tuple(
        fault
        for fault, hit in hits
        if not any(each.verdict.raised and _right(topology, each.verdict.suspect, [hit]) for each in verdicts)
    )
    return WatchedRun(
        verdicts, begin_s, whole.end_s, until_s, log.is_open, told.devices, witness.delays_s, waits, guilty, missed
    )  # fmt: skip


def _beat(at_s: float, devices: tuple[str, ...], now: _FaultsNow, entered: NDArray[np.int64]) -> SignsOfLife:
    ranks = np.array([rank for rank, name in enumerate(devices) if not now.silent(name, at_s)], np.int64)
    return SignsOfLife(at_s, ranks, entered[ranks])


def _in_order(watched: Mapping[str, Watched]) -> list[tuple[float, str, Verdict]]:
    said = [(at_s, name, verdict) for name, each in watched.items() for at_s, verdict in each.said]
    return sorted(said, key=lambda each: (each[0], each[1], str(each[2].suspect)))


def _right(topology: Topology, suspect: Suspect, hits: Sequence[Struck]) -> bool | None:
    """Whether a verdict names a component that was struck; of a link also what it joins to the others."""
    named = set(suspect.name.split("->"))
    if suspect.kind == "host":
        named = {name for name, device in topology.devices.items() if device.host == suspect.name}
    is_far = False
    for hit in hits:
        if named & set(hit.devices) or named & {device for device, _ in (*hit.tiers, *hit.ports)}:
            return True
        ends = {end.vertex for link in topology.links if link.name in hit.links for end in (link.a, link.b)}
        if suspect.kind in ("nic", "path") and not hit.devices and named & ends:
            return True
        is_far |= bool(hit.links) and not ends & set(topology.devices)
    return None if is_far and suspect.kind == "path" else False
