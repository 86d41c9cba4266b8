"""A workload with faults and its twin without them, and what the difference is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from controller.errors import DeviceUnreachable, LinkFailed, RunError
from controller.experiment.collective_run import prepare_collective, run_collective
from controller.experiment.collective_spec import CollectiveSpec
from controller.experiment.result import Experiment
from controller.experiment.run import run_experiment
from controller.experiment.run_spec import RunSpec
from controller.experiment.striking import StruckNode
from controller.faults.timeline import checked
from controller.topology.fault import Fault
from controller.topology.loader import load_topology
from controller.topology.schema import Topology

AnySpec = RunSpec | CollectiveSpec
LIVE_TIMEOUT_S = 3.0
"""A node of a live fault run is named when it has been silent for so long [s of wall time]."""


@dataclass(frozen=True, slots=True)
class RunEnd:
    """How a run ended.

    Attributes:
        ended: ``ok``, ``unreachable``, ``link failed`` or ``failed``.
        message: the error for people; "" when it is ok.
        time_s: device time [s]; None when it did not end well.
        device: that is gone; "" otherwise.
        links: that failed.
        named_s: from the strike until a live node was named [s of wall time]; None elsewhere.
        changes: of links and parts, and whether each happened.
        values_right: whether live values are those of the plain run; None where none were compared.
    """

    ended: str
    message: str = ""
    time_s: float | None = None
    device: str = ""
    links: tuple[str, ...] = ()
    named_s: float | None = None
    changes: tuple[Mapping[str, Any], ...] = ()
    values_right: bool | None = None


@dataclass(frozen=True, slots=True)
class FaultRunResult:
    """Both runs.

    Attributes:
        topology: as declared.
        faults: with their targets resolved.
        live: whether node processes were struck.
        twin: the run without faults.
        struck: the run with them.
        experiment: its whole result, of a workload of ``run`` that ended.
    """

    topology: Topology
    faults: tuple[Fault, ...]
    live: bool
    twin: RunEnd
    struck: RunEnd
    experiment: Experiment | None = None

    @property
    def damage_s(self) -> float | None:
        """Device time that the faults cost [s]; None where one of the runs did not end well."""
        if self.live or self.twin.time_s is None or self.struck.time_s is None:
            return None
        return self.struck.time_s - self.twin.time_s

    @property
    def observable(self) -> bool:
        """Whether anything at all differs from the twin."""
        return self.struck.ended != self.twin.ended or bool(self.damage_s) or self.struck.values_right is False


def run_with_faults(
    spec: AnySpec, faults: Callable[[Topology], tuple[Fault, ...]], *, live: bool, report: Path | None = None
) -> FaultRunResult:
    """Runs a workload twice, without and with faults.

    Args:
        spec: of the workload, without faults.
        faults: makes them for the topology.
        live: strike real node processes; the twin is timed on the virtual clock.
        report: HTML file for the run with the faults; None for none.

    Raises:
        UserError: a workload or faults that cannot be.
    """
    assert spec.topology is not None, "a fault run names its topology"
    topology = load_topology(spec.topology, spec.overrides, spec.catalog)
    declared = checked(topology, faults(topology))
    kept: list[Experiment] = []
    twin = _end_of(spec, kept)
    kept.clear()
    if report is not None and isinstance(spec, RunSpec):
        spec = replace(spec, report=report)
    if live:
        timeout_s = min(spec.node_timeout_s, LIVE_TIMEOUT_S)
        struck = _end_of(replace(spec, live=True, live_faults=declared, node_timeout_s=timeout_s), kept)
    else:
        struck = _end_of(replace(spec, faults=declared), kept)
    return FaultRunResult(topology, declared, live, twin, struck, kept[0] if kept else None)


def _end_of(spec: AnySpec, kept: list[Experiment]) -> RunEnd:
    try:
        return _run(spec, kept) if isinstance(spec, RunSpec) else _collective(spec)
    except StruckNode as error:
        return RunEnd("unreachable", str(error), device=error.device, named_s=error.named_s)
    except DeviceUnreachable as error:
        return RunEnd("unreachable", str(error), device=error.device)
    except LinkFailed as error:
        return RunEnd("link failed", str(error), links=error.links)
    except RunError as error:
        return RunEnd("failed", str(error))


def _run(spec: RunSpec, kept: list[Experiment]) -> RunEnd:
    experiment = run_experiment(spec)
    kept.append(experiment)
    outcome = experiment.outcome
    found = experiment.comparison
    right = None
    if "values_equal" in found or "tokens_equal" in found:
        right = bool(found.get("values_equal", True)) and found.get("tokens_equal") == found.get("tokens_compared")
    if not outcome.ok:
        return RunEnd("failed", outcome.ended)
    return RunEnd(
        "ok", time_s=outcome.time_s, changes=(*outcome.link_changes, *outcome.part_changes), values_right=right
    )


def _collective(spec: CollectiveSpec) -> RunEnd:
    table = run_collective(prepare_collective(spec))
    times = [row.out_of_place.time_s for row in table.rows]
    changes = tuple(change for row in table.rows for change in row.choice.link_changes)
    right = None
    if table.proven is not None:
        right = not any(call.wrong for row in table.rows for call in row.calls)
    return RunEnd("ok", time_s=sum(time_s or 0.0 for time_s in times), changes=changes, values_right=right)
