"""A workload with faults and its twin without them, and what the difference is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from controller.collectives.measure.calls import program_of
from controller.collectives.protocol import as_seen
from controller.errors import DeviceUnreachable, LinkFailed, RunError, UserError
from controller.execute.op_log import OpLog
from controller.execute.trace import Trace
from controller.execute.virtual import run_virtual
from controller.experiment.collective_run import prepare_collective, run_collective
from controller.experiment.collective_spec import CollectiveSpec
from controller.experiment.result import Experiment
from controller.experiment.run import run_experiment
from controller.experiment.run_spec import RunSpec
from controller.experiment.striking import StruckNode
from controller.experiment.surviving import losses_differ, train_surviving
from controller.experiment.training import training_scenario
from controller.experiment.virtual import prepare, run_virtual_experiment
from controller.faults.timeline import Timeline, checked, with_faults
from controller.launch import Cluster
from controller.launch.injection import Injection, check_live
from controller.topology.fault import Fault
from controller.topology.loader import load_topology
from controller.topology.schema import Topology

AnySpec = RunSpec | CollectiveSpec
SHRUNK_TOLERANCE = 0.05
"""Losses of fewer replicas are means over fewer batches, and agree to this share."""
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
        values_right: whether live values are those of the plain run; None where none were compared. Of training that
            goes on: whether losses and parameters are those of the undisturbed run, to the bit unless it shrank.
        failures: that training went on after.
    """

    ended: str
    message: str = ""
    time_s: float | None = None
    device: str = ""
    links: tuple[str, ...] = ()
    named_s: float | None = None
    changes: tuple[Mapping[str, Any], ...] = ()
    values_right: bool | None = None
    failures: tuple[Mapping[str, Any], ...] = ()


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
        log: what every op took with the faults on the virtual clock, of a collective that of its first call; None where
            nobody asked, or times come without plans.
        healthy_call: the same of that call without the faults; None for a workload of ``run``.
    """

    topology: Topology
    faults: tuple[Fault, ...]
    live: bool
    twin: RunEnd
    struck: RunEnd
    experiment: Experiment | None = None
    log: OpLog | None = None
    healthy_call: OpLog | None = None

    @property
    def damage_s(self) -> float | None:
        """Device time that the faults cost [s]; None where one of the runs did not end well."""
        if self.live or self.twin.time_s is None or self.struck.time_s is None:
            return None
        return self.struck.time_s - self.twin.time_s

    @property
    def observable(self) -> bool:
        """Whether anything at all differs from the twin."""
        end = self.struck
        return end.ended != self.twin.ended or bool(self.damage_s or end.failures) or end.values_right is False


def run_with_faults(
    spec: AnySpec,
    faults: Callable[[Topology], tuple[Fault, ...]],
    *,
    live: bool,
    report: Path | None = None,
    recovery: tuple[str, int] | None = None,
    logs: bool = False,
) -> FaultRunResult:
    """Runs a workload twice, without and with faults.

    Args:
        spec: of the workload, without faults.
        faults: makes them for the topology.
        live: strike real node processes; the twin is timed on the virtual clock.
        report: HTML file for the run with the faults; None for none.
        recovery: policy and steps between checkpoints of live training that goes on; see `surviving_training`.
        logs: whether the result has `log`.

    Raises:
        UserError: a workload or faults that cannot be.
    """
    assert spec.topology is not None, "a fault run names its topology"
    topology = load_topology(spec.topology, spec.overrides, spec.catalog)
    declared = checked(topology, faults(topology))
    if live:
        check_live(Timeline(topology, declared), paced=spec.pace is not None)
    if recovery is not None:
        if not live or not isinstance(spec, RunSpec):
            raise UserError("a recovery is for live training: add --live and a workload of `run train_gpu_only`")
        whole, through = surviving_training(spec, topology, declared, *recovery)
        return FaultRunResult(topology, declared, live, whole, through)
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
    log, healthy = _logs(spec, declared) if logs else (None, None)
    return FaultRunResult(topology, declared, live, twin, struck, kept[0] if kept else None, log, healthy)


def _logs(spec: AnySpec, faults: tuple[Fault, ...]) -> tuple[OpLog | None, OpLog | None]:
    """What ops took with faults on the virtual clock; of a collective its first call, and the same without them."""
    trace = Trace(limit=0, log=OpLog())
    if isinstance(spec, RunSpec):
        request = replace(spec, live=False, faults=faults, report=None, trace=None)
        with suppress(RunError):
            run_virtual_experiment(request, *prepare(request), trace, None)
        return trace.log, None
    prepared = prepare_collective(replace(spec, live=False, max_bytes=spec.min_bytes, bulk=None))
    if prepared.chooser is not None:
        return None, None
    call = run_collective(prepared).rows[0].out_of_place
    protocol = next(each for each in prepared.protocols if each.name == call.protocol)
    healthy = Trace(limit=0, log=OpLog())
    run_virtual(as_seen(prepared.topology, prepared.group, protocol), [program_of([call])], trace=healthy)
    declared = with_faults(load_topology(spec.topology, spec.overrides, spec.catalog), faults)
    with suppress(RunError):
        run_virtual(as_seen(declared, prepared.group, protocol), [program_of([call])], trace=trace)
    return trace.log, healthy.log


def surviving_training(
    spec: RunSpec, topology: Topology, faults: tuple[Fault, ...], policy: str, every: int
) -> tuple[RunEnd, RunEnd]:
    """Live training without faults, and the same with them that goes on after failures.

    Times of faults count from when the nodes serve for the first time; later starts are not struck again.

    Raises:
        UserError: another strategy than `train_gpu_only`.
    """
    strategy, _, shape = prepare(replace(spec, live=True))
    if strategy.name != "train_gpu_only":
        raise UserError(f"training goes on with train_gpu_only alone, not {strategy.name!r}: change the workload")
    scenario = training_scenario(spec, strategy, topology, shape)
    timeout_s = min(spec.node_timeout_s, LIVE_TIMEOUT_S)
    injections: list[Injection] = []

    def strike(cluster: Cluster, starts: int) -> None:
        for injection in injections:
            injection.close()
        if not starts:
            cluster.await_heartbeats()
            injections.append(Injection(Timeline(topology, faults), cluster.processes, cluster.clients))
            injections[0].begin()

    with TemporaryDirectory() as folder:
        whole = train_surviving(scenario, Path(folder) / "whole", recovery=policy, every=every)
        try:
            through = train_surviving(
                scenario, Path(folder) / "struck", recovery=policy, every=every, node_timeout_s=timeout_s, strike=strike
            )
        except RunError as error:
            return RunEnd("ok"), RunEnd("failed", str(error))
        finally:
            for injection in injections:
                injection.close()
    equal = through.losses == whole.losses and all(
        np.array_equal(values, whole.parameters[name]) for name, values in through.parameters.items()
    )
    if through.replicas < whole.replicas:
        equal = losses_differ(through.losses, whole.losses) < SHRUNK_TOLERANCE
    return RunEnd("ok"), RunEnd("ok", values_right=equal, failures=tuple(map(asdict, through.failures)))


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
