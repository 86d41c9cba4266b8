"""A program on node processes: looks whether the machine can carry it, starts the nodes and runs it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager

from controller.errors import PreflightFailed
from controller.execute.costs import Costs
from controller.execute.live import run_live
from controller.execute.outcome import Outcome
from controller.execute.phases import Phases
from controller.execute.shortage import report_shortage
from controller.execute.survey import Survey, survey
from controller.execute.trace import Trace
from controller.experiment.result import AnyScenario, Experiment
from controller.experiment.run_spec import RunSpec
from controller.experiment.striking import striking
from controller.fabric.loads import Fabric
from controller.launch import Cluster, MachineSpeed, launch, measure_machine, preflight, smallest_dilation
from controller.models.shape import ModelShape
from controller.plan.bound import bind_kernel
from controller.plan.ops import Kernel, Transfer
from controller.program.run import ProgramFunction
from controller.strategies.entry import Strategy
from controller.strategies.of_your_own import blaming
from controller.topology.schema import Topology


def run_scenario(
    request: RunSpec,
    strategy: Strategy,
    topology: Topology,
    shape: ModelShape,
    scenario: AnyScenario,
    trace: Trace | None,
    phases: Phases,
) -> Experiment:
    """Runs `strategy` on node processes, after a look whether the machine can carry it; compares nothing.

    On a Ray cluster each of its machines looks for itself, and this one carries no node.

    Raises:
        UserError: wrong input, or a machine that cannot carry the run; nothing was started.
        RunError: the run itself ended badly.
    """
    function = strategy.program()
    programs: list[ProgramFunction] = [lambda run: function(run, scenario)]
    phases.begin("survey", "checking every plan")
    with blaming(strategy):
        found = survey(topology, programs)
    if found.does_not_fit is not None:
        # A result like any other, found before a process was started.
        outcome = Outcome()
        report_shortage(outcome, found.does_not_fit, topology, programs)
        phases.end()
        return Experiment(request, strategy, topology, shape, scenario, outcome, trace, phases_wall_s=phases.wall_s)
    feasible = None
    if request.ray is None:
        preflight(topology, found.peak_bytes)
        if request.pace is not None:
            feasible = _checked_pace(request.pace, topology, found, measure_machine(), "this machine")
    phases.begin("start", "starting the nodes")
    with _nodes(request, topology, found) as cluster, blaming(strategy):
        if request.pace is not None and cluster.speed is not None:
            feasible = _checked_pace(request.pace, topology, found, cluster.speed, "a machine of the cluster")
        machines = dict(cluster.machines)
        record = request.recorder
        with striking(request.live_faults, topology, cluster):
            outcome = run_live(
                topology, programs, cluster, trace=trace, record=record, progress=phases.progress, phases=phases
            )
        phases.begin("stop", "stopping the nodes")
    if outcome.shortages is not None:
        report_shortage(outcome, None, topology, programs)
    phases.end()
    experiment = Experiment(request, strategy, topology, shape, scenario, outcome, trace, phases_wall_s=phases.wall_s)
    experiment.explanation = record.explain()
    if feasible is not None:
        experiment.comparison["smallest_dilation"] = feasible
    if machines:
        experiment.comparison["machines"] = machines
    return experiment


def _nodes(request: RunSpec, topology: Topology, found: Survey) -> AbstractContextManager[Cluster]:
    """The processes of a run: on this machine, or on the Ray cluster that the request names."""
    if request.ray is None:
        return launch(topology, request.pace, needs=found.peak_bytes, node_timeout_s=request.node_timeout_s)
    from controller.launch.ray_placement import launch_on_ray

    return launch_on_ray(
        topology, request.ray, request.pace, needs=found.peak_bytes, node_timeout_s=request.node_timeout_s
    )


def _checked_pace(pace: float, topology: Topology, found: Survey, speed: MachineSpeed, carrier: str) -> float:
    """The smallest dilation that a machine could hold for the plans of a program, estimated from its speed.

    Raises:
        PreflightFailed: the one asked for is smaller.
    """
    feasible = smallest_dilation(speed, _efforts(topology, found), busy_nodes=len(topology.devices))
    if pace < feasible:
        raise PreflightFailed(
            f"{carrier} cannot keep up with the devices at --pace {pace:g}; the smallest feasible dilation is about "
            f"{feasible:.3g}"
        )
    return feasible


def _efforts(topology: Topology, found: Survey) -> Iterator[tuple[float, float, float]]:
    """Bytes, FLOP and device time of every op of every plan, at its last binding."""
    costs = Costs(topology, Fabric(topology))
    for entry in found.plans:
        for op in entry.plan.ops:
            if isinstance(op, Kernel):
                demand = bind_kernel(op, entry.last).demand()
                cost = costs.of_kernel(op, entry.last)
                time_s = cost.latency_s + (cost.work / cost.rate_limit if cost.work else 0.0)
                yield float(sum(demand.reads) + sum(demand.writes)), demand.flop, time_s
            elif isinstance(op, Transfer):
                cost = costs.of_transfer(op, 0, entry.last)
                yield 2 * cost.work, 0.0, cost.latency_s + cost.work / costs.alone_bytes_per_s(cost)
