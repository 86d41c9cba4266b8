"""Captures and times the program of a row."""

from __future__ import annotations

import atexit
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from hashlib import sha256
from pathlib import Path
from typing import Any

from controller.capture.request import CaptureRequest, device_facts
from controller.capture.run import result_of
from controller.capture.server import CaptureServer
from controller.capture.timing.collective_times import CollectiveTimes
from controller.capture.timing.run import play
from controller.capture.trace import RankTrace
from controller.compare.kept import Form
from controller.errors import WindtunnelError
from controller.reproduce.training.conditions import TrainingRun
from controller.topology.loader import load_topology
from node.errors import NodeError

PROGRAM = Path(__file__).resolve().parents[3] / "tests" / "fixtures" / "torch" / "train.py"
"""Lies in the repository, not in an installed package."""
LEAST_ACCUMULATED = 2
"""Micro-batches that are captured; what a further one adds is the difference between the two captures."""

MOST_TRACES = 4
"""Captures that are kept in memory for rows of the same program on another cluster."""
_TRACES: dict[tuple[tuple[str, ...], int, str], RankTrace] = {}


@dataclass(frozen=True, slots=True)
class StepFigures:
    """Ours of a row.

    Attributes:
        step_s: of a step [s].
        reserved_bytes, allocated_bytes: most that the allocator and tensors held [bytes].
        exposed_s: of communication [s].
        unknown_ratio: share of the step in calls that the table lacks.
        failed: why there is none; "" for nothing.
    """

    step_s: float
    reserved_bytes: float
    allocated_bytes: float
    exposed_s: float
    unknown_ratio: float
    failed: str = ""


def step_figures(run: TrainingRun) -> StepFigures:
    """Captures and times a program; one that fails says why."""
    try:
        first = _captured(run, min(run.accumulate, LEAST_ACCUMULATED))
        if run.accumulate <= LEAST_ACCUMULATED:
            return first
        # Every further micro-batch asks for the same as the second.
        less = _captured(run, LEAST_ACCUMULATED - 1)
        more = run.accumulate - LEAST_ACCUMULATED
        return replace(first, step_s=first.step_s + more * (first.step_s - less.step_s))
    except (WindtunnelError, NodeError) as error:
        return StepFigures(0.0, 0.0, 0.0, 0.0, 0.0, str(error).splitlines()[0][:200])


def _captured(run: TrainingRun, accumulate: int) -> StepFigures:
    topology = load_topology(run.topology, run.overrides)
    words = (*run.arguments, "--accumulate", str(accumulate))
    request = CaptureRequest(PROGRAM, words, topology, run.ranks, 3)
    group = request.group()
    facts = json.dumps(device_facts(topology.devices[group.devices[0]].spec, 0), sort_keys=True)
    key = (words, run.ranks, facts)
    if key not in _TRACES:
        while len(_TRACES) >= MOST_TRACES:
            del _TRACES[next(iter(_TRACES))]
        _TRACES[key] = _server().capture(request, group)
    traces = {0: _TRACES[key]}
    played = play(topology, group, traces, _times(run.topology, run.overrides))
    found = result_of(request, group, traces, {0: ""}, played)
    unknown = sum(call.time_s for call in found.calls if not call.is_known)
    use = found.memory[0]
    return StepFigures(
        found.time_s, use.reserved_bytes, use.allocated_bytes, found.exposed_s, unknown / found.time_s, use.failed
    )


@lru_cache(maxsize=4)
def _times(topology: str, overrides: tuple[str, ...]) -> CollectiveTimes:
    """Times of collectives, which rows on one cluster share."""
    return CollectiveTimes(load_topology(topology, overrides))


@lru_cache(maxsize=1)
def _server() -> CaptureServer:
    made = CaptureServer()
    atexit.register(made.close)
    return made


def digest_of(run: TrainingRun) -> str:
    """Names a run, and the program that it captures."""
    asked = {**asdict(run), "topology": Path(run.topology).name}
    whole = json.dumps(asked, sort_keys=True).encode()
    for name in ("train.py", "models.py"):
        whole += PROGRAM.with_name(name).read_bytes()
    return sha256(whole).hexdigest()[:24]


def _read(fields: Mapping[str, Any]) -> StepFigures:
    return StepFigures(**fields)


def _failed(found: StepFigures) -> bool:
    return bool(found.failed) and not found.failed.startswith("out of memory")


FORM: Form[TrainingRun, StepFigures] = Form(digest_of, asdict, _read, _failed)
