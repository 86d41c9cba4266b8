"""Runs a server on the virtual clock: loads what a request names, builds the instances, and runs the loop."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from controller.clock import wall_clock_s
from controller.errors import BadWorkload
from controller.experiment.serving_setup import ServingSetup
from controller.experiment.serving_spec import ServeSpec
from controller.models.shape import ModelShape
from controller.program.results import Latencies, ServingResult
from controller.program.run import ProgressSink
from controller.serving.client_request import RequestStreamSpec
from controller.serving.cluster import ServingCluster
from controller.serving.clusters.table import ClusterEntry
from controller.serving.device_times.audit import AuditedIteration
from controller.serving.fleet import start_instances
from controller.serving.instance import ServingInstance
from controller.serving.layout import InstanceDevices
from controller.serving.loop import ServingLoop
from controller.serving.metrics import ServingMetrics, measure_requests
from controller.serving.outages import ServingOutages
from controller.serving.power_caps import PowerCappedRow
from controller.serving.rate_search import FoundRate, find_rate
from controller.serving.schedulers.table import SchedulerEntry
from controller.serving.state import RequestState
from controller.serving.surfaces.table import load_surface
from controller.serving.token_times import token_gaps
from controller.topology.schema import Topology


@dataclass
class ServingExperiment:
    """A finished run of a server.

    Attributes:
        spec: what was asked for.
        topology, shape, scheduler: that were loaded.
        stream: the requests.
        instances: after the run.
        states: every request, in the order of arrival.
        metrics: of all requests.
        time_s: virtual time [s].
        wall_s: what it took on this machine [s].
        notes: sentences for people.
        audited: iterations that were also executed whole.
        cluster, policy: of several instances; None for one.
        outages: of a run with faults.
        devices: of every instance.
        power: of a run with a power budget.
        plans_executed: plans of parts of iterations.
        growth_per_s: requests by which the queue grew, in the second half of the arrivals [1/s]; 0 where it drains.
    """

    spec: ServeSpec
    topology: Topology
    shape: ModelShape
    scheduler: SchedulerEntry
    stream: RequestStreamSpec
    instances: Sequence[ServingInstance]
    states: Sequence[RequestState]
    metrics: ServingMetrics
    time_s: float
    wall_s: float
    notes: list[str] = field(default_factory=list)
    growth_per_s: float = 0.0
    audited: Sequence[AuditedIteration] = ()
    plans_executed: int = 0
    cluster: ServingCluster | None = None
    policy: ClusterEntry | None = None
    outages: ServingOutages | None = None
    devices: Sequence[InstanceDevices] = ()
    power: PowerCappedRow | None = None

    @property
    def placed(self) -> str:
        """How many instances of how many devices."""
        spec, cluster = self.spec, self.cluster
        if cluster is None or not cluster.details():
            return f"{spec.instances} x {spec.tp * spec.ep}"
        roles, options = cluster.state.roles, cluster.state.options
        return " + ".join(f"{roles.count(role)} x {options[f'{role}_ep']:g}" for role in dict.fromkeys(roles))

    @property
    def grain_error(self) -> float | None:
        """Largest error of an audited iteration; None where none was."""
        return max((abs(each.error) for each in self.audited), default=None)

    @property
    def result(self) -> ServingResult:
        """The run as what a program of a server hands on."""
        metrics = self.metrics
        ends = [np.array(each.progress.step_end_at) for each in self.instances]
        done = [state for state in self.states if state.outcome == "ok" and state.request.output_tokens > 1]
        gaps = np.concatenate([token_gaps(state, ends) for state in done]) if done else np.empty(0)
        ttft, tpot, itl, e2e = (
            Latencies(values[np.isfinite(values)])
            for values in (metrics.ttfts_s, metrics.tpots_s, gaps, metrics.e2els_s)
        )
        return ServingResult(
            len(self.states), metrics.output_tokens, metrics.duration_s, metrics.completed, metrics.input_tokens,
            ttft, tpot, itl, e2e,
        )  # fmt: skip


def serve(spec: ServeSpec, progress: ProgressSink | None = None, setup: ServingSetup | None = None,
          rate_per_s: float | None = None) -> ServingExperiment:  # fmt: skip
    """Runs a server.

    Args:
        spec: what was asked for.
        progress: told how many requests have ended.
        setup: of an earlier run of the same server; None to load it.
        rate_per_s: mean rate of arrivals in place of the declared one [1/s].

    Raises:
        UserError: wrong input; nothing was run.
        RunError: a scheduler that decides what cannot be.
    """
    begun_s = wall_clock_s()
    setup = setup or setup_of(spec)
    stream = setup.stream(rate_per_s)
    instances = start_instances(setup.instances)
    dispatcher = setup.dispatcher(instances)
    step = max(1, len(stream.requests) // 200)

    def tell(done: int, total: int) -> None:
        if progress is not None and (done % step == 0 or done == total):
            progress(done, total, "requests")

    outages = setup.outages(dispatcher) if spec.faults else None
    row = setup.power_caps(outages or dispatcher) if spec.power_budget_w else None
    loop = ServingLoop(instances, stream, row or outages or dispatcher, tell)
    loop.run()
    found = finished(spec, setup, stream, loop, dispatcher, begun_s, outages)
    found.power = row
    return found


def finished(
    spec: ServeSpec, setup: ServingSetup, stream: RequestStreamSpec, loop: ServingLoop,
    dispatcher: ServingCluster | None, begun_s: float, outages: ServingOutages | None = None,
) -> ServingExperiment:  # fmt: skip
    """What a loop that has come to its end came to."""
    instances = loop.instances
    if dispatcher is not None:
        dispatcher.close(loop.now)
    slos = {"": spec.slo, **stream.slos} if spec.slo else stream.slos
    metrics = measure_requests(loop.states, [np.array(each.progress.step_end_at) for each in instances], slos)
    found = ServingExperiment(
        spec, setup.topology, setup.shape, setup.scheduler, stream, instances, loop.states, metrics, loop.now,
        wall_clock_s() - begun_s, list(stream.notes), queue_growth_per_s(loop.states, stream),
        setup.audited(), sum(each.executed for each in setup.device_times),
        dispatcher, None if dispatcher is None else setup.cluster, outages, setup.devices,
    )  # fmt: skip
    if spec.surface:
        found.notes.append(
            f"iterations take what {load_surface(spec.surface).summary} takes, measured by its authors, and not what "
            f"{setup.topology.name} would"
        )
    if found.growth_per_s:
        found.notes.append(
            f"the rate never drains: the queue grows by {found.growth_per_s:.3g} requests a second while requests "
            f"arrive; latencies depend on how many there are (--num-prompts); lower the rate or add instances"
        )
    return found


def setup_of(spec: ServeSpec) -> ServingSetup:
    """A server that is loaded: pools of a supernode, or instances of one kind."""
    if spec.cluster == "pdc":
        from controller.experiment.pdc_setup import PdcSetup

        return PdcSetup(spec)
    return ServingSetup(spec)


def queue_growth_per_s(states: Sequence[RequestState], stream: RequestStreamSpec) -> float:
    """By how many requests a second the system fills up in the second half of the arrivals; 0 where it keeps up."""
    if stream.users or not np.isfinite(stream.rate_per_s) or len(states) < 100:
        return 0.0
    arrivals = np.array([state.request.arrival_at for state in states])
    begun = np.sort([state.first_at if state.first_at >= 0 else state.end_at for state in states])
    half, last = arrivals[len(states) // 2], arrivals[-1]
    if last <= half:
        return 0.0
    queued = [int((arrivals <= at).sum() - np.searchsorted(begun, at, side="right")) for at in (half, last)]
    growth = (queued[1] - queued[0]) / (last - half)
    return float(growth) if growth > 0.05 * stream.rate_per_s and queued[1] > 20 else 0.0


def find_serving_rate(
    spec: ServeSpec, attainment: float, progress: ProgressSink | None = None
) -> tuple[FoundRate, ServingExperiment]:
    """The highest rate at which a server attains its objective, and the run at that rate.

    Raises:
        BadWorkload: no objective, arrivals without a rate, or an objective that no rate attains; says the best.
    """
    if not spec.slo and "=" not in spec.classes:
        raise BadWorkload("--find-rate needs an objective: add --slo ttft=250ms,tpot=100ms")
    setup = setup_of(spec)
    start = setup.stream().rate_per_s
    if not np.isfinite(start):
        raise BadWorkload(f"--find-rate needs arrivals with a rate, and {spec.requests!r} has none; write poisson:1/s")
    runs: dict[float, ServingExperiment] = {}

    def attained_at(rate: float) -> float:
        runs[rate] = serve(spec, None, setup, rate)
        if progress is not None:
            progress(len(runs), len(runs) + 1, "rates")
        return runs[rate].metrics.attained_ratio or 0.0

    found = find_rate(attained_at, attainment, start)
    if not found.rate_per_s:
        lowest = runs[min(runs)]
        bounds = ", ".join(f"{name} by {ratio:.1%}" for name, ratio in lowest.metrics.by_bound.items())
        raise BadWorkload(
            f"no rate attains the objective for {attainment:.1%} of the requests: the best is "
            f"{found.attained_ratio:.1%}, and at {min(runs):.3g}/s {bounds} meet each bound (median TTFT "
            f"{lowest.metrics.ttft.median_s * 1e3:.4g} ms, median TPOT {lowest.metrics.tpot.median_s * 1e3:.4g} ms); "
            f"relax --slo or --attainment, or raise --tp"
        )
    return found, runs[found.rate_per_s]


__all__ = ["ServingExperiment", "ServingSetup", "find_serving_rate", "serve"]
