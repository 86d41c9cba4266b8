"""A file of ``fault run``: what runs where, and what breaks meanwhile.

    topology: dgx_h100
    workload: run train_gpu_only --model tiny --dp 2 --steps 4      # the words of `run` or `collective`
    seed: 7
    faults:
      - {target: gpu1, kind: slow, severity: 2, at: 1 ms}

With ``recovery: {policy: restart, every: 1}`` a live run of `train_gpu_only` goes on after failures: restart, spare,
replica or shrink, with a checkpoint every so many steps. In place of ``faults`` there may be ``rates: {name:
meta_llama3, for: 10 s, times: 1e6}``: faults drawn from published rates, so many times as often; or ``trace: {file:
trace.json, times: 1e6}``: outages of a trace in StepFun's format, so many times as fast, on the hosts of the topology.
``detectors: [default, c4d]`` says who watches the telemetry of the run (`windtunnel help controller.diagnosis`).
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from controller.errors import BadTopology
from controller.faults.file import faults_of
from controller.faults.rates.published import RATES, rates_called
from controller.faults.sources.drawn import drawn_faults
from controller.faults.sources.stepfun import Outage, outages_on, read_stepfun
from controller.topology.document import Document
from controller.topology.fault import Fault
from controller.topology.nearest import hint
from controller.topology.schema import Topology
from node.errors import BadQuantity
from node.hardware.units import parse

KEYS = ("topology", "workload", "faults", "rates", "trace", "detectors", "seed", "recovery")
RATE_KEYS = ("name", "for", "times")
WORKLOADS = ("run", "collective")


@dataclass(frozen=True, slots=True)
class DrawnRates:
    """Rates that faults are drawn from.

    Attributes:
        name: of the published set.
        for_s: over that time [s].
        times: so many times as often.
        where: ``FILE:LINE``.
    """

    name: str
    for_s: float
    times: float
    where: str


@dataclass(frozen=True, slots=True)
class TraceOfFile:
    """Outages of others.

    Attributes:
        outages: in order.
        times: so many times as fast.
    """

    outages: tuple[Outage, ...]
    times: float

    def faults(self, topology: Topology) -> tuple[Fault, ...]:
        """The outages on the hosts of a topology."""
        return tuple(
            replace(
                fault,
                at_s=fault.at_s / self.times,
                for_s=None if fault.for_s is None else fault.for_s / self.times,
            )
            for fault in outages_on(topology, self.outages)
        )


@dataclass(frozen=True, slots=True)
class FaultRun:
    """What a file of ``fault run`` says.

    Attributes:
        topology: shipped name or path.
        words: of the workload, ``run`` or ``collective`` first.
        declared: faults of the file; empty with `rates` or `trace`.
        rates: what they are drawn from, or None.
        trace: where they come from, or None.
        detectors: who watches; empty where the file does not say.
        seed: of the workload and of the draw.
        recovery: policy and steps between checkpoints of training that goes on; None for runs that end.
    """

    topology: str
    words: tuple[str, ...]
    declared: tuple[Fault, ...]
    rates: DrawnRates | None
    seed: int
    recovery: tuple[str, int] | None = None
    trace: TraceOfFile | None = None
    detectors: tuple[str, ...] = ()

    def faults(self, topology: Topology) -> tuple[Fault, ...]:
        """The faults on a topology."""
        if self.trace is not None:
            return self.trace.faults(topology)
        if self.rates is None:
            return self.declared
        rates = rates_called(self.rates.name)
        often = tuple(replace(cause, per_hour=cause.per_hour * self.rates.times) for cause in rates.causes)
        quick = replace(
            rates,
            causes=tuple(replace(cause, mean_s=cause.mean_s / self.rates.times) for cause in often),
            repair_mean_s=rates.repair_mean_s / self.rates.times,
            repair_median_s=rates.repair_median_s / self.rates.times,
        )
        return drawn_faults(topology, quick, self.rates.for_s, self.seed)


def read_fault_run(path: Path) -> FaultRun:
    """What a file says.

    Raises:
        BadTopology: an unknown or missing key, or a wrong value; file, line and what to write.
    """
    document = Document(path, "a fault run is a mapping with the keys topology, workload and faults or rates")
    data = document.data
    for key in data:
        if key not in KEYS:
            raise BadTopology(f"{document.where((key,))}: unknown key {key!r}{hint(str(key), KEYS, 'keys')}")
    for key in ("topology", "workload"):
        if not isinstance(data.get(key), str) or not data[key].strip():
            raise BadTopology(f"{document.where((key,))}: {key!r} is missing or is not text; write '{key}: ...'")
    if sum(key in data for key in ("faults", "rates", "trace")) != 1:
        raise BadTopology(f"{document.where()}: write either 'faults' or 'rates' or 'trace', one of them")
    where = document.where(("workload",))
    try:
        words = tuple(shlex.split(data["workload"]))
    except ValueError as error:
        raise BadTopology(f"{where}: the workload {data['workload']!r} is no command line: {error}") from error
    if words[0] not in WORKLOADS:
        raise BadTopology(f"{where}: a workload begins with run or collective, not {words[0]!r}")
    for option in ("--topology", "--faults", "--fail", "--degrade", "--live", "--json", "--local"):
        if any(word == option or word.startswith(option + "=") for word in words):
            raise BadTopology(f"{where}: {option} is said by the file or by `fault run`; remove it from the workload")
    seed = data.get("seed", 0)
    if isinstance(seed, bool) or not isinstance(seed, int) or seed < 0:
        raise BadTopology(f"{document.where(('seed',))}: a seed of {seed!r}; write a whole number, 0 or more")
    rates = _rates(document, data["rates"]) if "rates" in data else None
    trace = _trace(document, data["trace"], path) if "trace" in data else None
    declared = faults_of(document) if rates is None and trace is None else ()
    recovery = _recovery(document, data["recovery"]) if "recovery" in data else None
    return FaultRun(data["topology"], words, declared, rates, seed, recovery, trace, _detectors(document))


def _detectors(document: Document) -> tuple[str, ...]:
    given = document.data.get("detectors", [])
    names = [given] if isinstance(given, str) else given
    if not isinstance(names, list) or not all(isinstance(name, str) and name for name in names):
        raise BadTopology(
            f"{document.where(('detectors',))}: {given!r} are no detectors; write for example 'detectors: [default]'"
        )
    return tuple(names)


def _recovery(document: Document, given: Any) -> tuple[str, int]:
    where = document.where(("recovery",))
    example = "write for example 'recovery: {policy: restart, every: 1}'"
    if not isinstance(given, dict) or not isinstance(given.get("policy"), str):
        raise BadTopology(f"{where}: {given!r} is no recovery; {example}")
    for key in given:
        if key not in ("policy", "every"):
            raise BadTopology(f"{where}: unknown key {key!r}{hint(str(key), ('policy', 'every'), 'keys')}")
    every = given.get("every", 1)
    if isinstance(every, bool) or not isinstance(every, int) or every < 1:
        raise BadTopology(f"{where}: a checkpoint every {every!r} steps; write a whole number, 1 or more")
    return given["policy"], every


def _rates(document: Document, given: Any) -> DrawnRates:
    where = document.where(("rates",))
    example = "write for example 'rates: {name: meta_llama3, for: 10 s, times: 1e6}'"
    if not isinstance(given, dict):
        raise BadTopology(f"{where}: {given!r} are no rates; {example}")
    for key in given:
        if key not in RATE_KEYS:
            raise BadTopology(f"{where}: unknown key {key!r}{hint(str(key), RATE_KEYS, 'keys')}")
    name, times = given.get("name"), given.get("times", 1.0)
    if name not in RATES:
        raise BadTopology(f"{where}: no rates called {name!r}{hint(str(name), RATES, 'rates')}")
    _check_times(times, where, "often")
    if not isinstance(given.get("for"), str):
        raise BadTopology(f"{where}: 'for' is missing or is not text; {example}")
    try:
        for_s = parse(given["for"], "s")
    except BadQuantity as error:
        raise BadTopology(f"{where}: {error}") from error
    return DrawnRates(str(name), for_s, float(times), where)


def _trace(document: Document, given: Any, path: Path) -> TraceOfFile:
    where = document.where(("trace",))
    example = "write for example 'trace: {file: trace.json, times: 1e6}'"
    if not isinstance(given, dict) or not isinstance(given.get("file"), str):
        raise BadTopology(f"{where}: {given!r} is no trace; {example}")
    for key in given:
        if key not in ("file", "times"):
            raise BadTopology(f"{where}: unknown key {key!r}{hint(str(key), ('file', 'times'), 'keys')}")
    times = given.get("times", 1.0)
    _check_times(times, where, "fast")
    return TraceOfFile(read_stepfun(path.parent / given["file"]), float(times))


def _check_times(times: object, where: str, what: str) -> None:
    if isinstance(times, bool) or not isinstance(times, int | float) or not 0 < times <= 1e15:
        raise BadTopology(f"{where}: {times!r} times as {what}; write a number above 0")
