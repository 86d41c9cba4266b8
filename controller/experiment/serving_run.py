"""Runs a server on the virtual clock: loads what a request names, builds the instances, and runs the loop."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from controller.clock import wall_clock_s
from controller.errors import BadTopology, BadWorkload
from controller.experiment.serving_spec import ServeSpec
from controller.models.catalog import load_model
from controller.models.shape import ModelShape
from controller.program.run import ProgressSink
from controller.serving.client_request import RequestStreamSpec, Slo
from controller.serving.device_times.audit import AuditedIteration, audit
from controller.serving.device_times.parts import IterationParts
from controller.serving.device_times.swaps import SwapTimes
from controller.serving.device_times.times import DeviceTimes, HostCosts
from controller.serving.instance import ServingInstance
from controller.serving.iteration_times import IterationTimes
from controller.serving.kv_pool import BLOCK_TOKENS, KvPool
from controller.serving.kv_room import block_bytes, kv_blocks
from controller.serving.loop import ServingLoop
from controller.serving.metrics import ServingMetrics, measure_requests
from controller.serving.requests.open import open_requests
from controller.serving.schedulers.table import SchedulerEntry, load_scheduler
from controller.serving.state import InstanceState, RequestState, ServerLimits
from controller.topology.loader import load_topology
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

    @property
    def grain_error(self) -> float | None:
        """Largest error of an audited iteration; None where none was."""
        return max((abs(each.error) for each in self.audited), default=None)


class ServingSetup:
    """Everything of a server that stays when only the requests change, as in a search of a rate.

    Attributes:
        spec, topology, shape, scheduler: that were loaded.
        times: of the iterations of every instance.
    """

    def __init__(self, spec: ServeSpec) -> None:
        """Loads and checks.

        Raises:
            UserError: a name that does not exist, or devices that cannot hold the model and one block.
        """
        self.spec = spec
        self.topology = load_topology(spec.topology, spec.overrides, spec.catalog)
        self.shape = load_model(spec.model)
        _check_shape(self.shape)
        self.scheduler = load_scheduler(spec.scheduler, spec.limits)
        self.limits = self.scheduler.limits
        groups = device_groups(self.topology, spec)
        dtype = "fp16" if self.shape.dtype == "fp32" else self.shape.dtype
        most_tokens = max(self.limits.budget_tokens, self.shape.max_positions) + self.limits.max_requests
        self.pool_blocks: list[int] = []
        self.times: list[IterationTimes] = []
        known: dict[tuple[str, ...], tuple[DeviceTimes, int]] = {}
        for group in groups:
            products = tuple(self.topology.devices[name].spec.product for name in group)
            if products not in known:
                known[products] = self._times_of(group, dtype, most_tokens)
            times, blocks = known[products]
            self.times.append(times)
            self.pool_blocks.append(blocks)
        self.device_times = [times for times, _ in known.values()]

    def _times_of(self, group: tuple[str, ...], dtype: str, most_tokens: int) -> tuple[DeviceTimes, int]:
        spec = self.spec
        parts = IterationParts(self.topology, self.shape, group, dtype, 0, most_tokens)
        blocks = kv_blocks(self.topology, parts.sharding, spec.utilisation, most_tokens)
        if spec.kv_tokens is not None:
            asked = spec.kv_tokens // BLOCK_TOKENS
            if asked < 1:
                raise BadWorkload(
                    f"--kv-tokens {spec.kv_tokens} is less than one block of {BLOCK_TOKENS} tokens; raise it"
                )
            if asked > blocks:
                raise BadWorkload(
                    f"--kv-tokens {spec.kv_tokens}: {group[0]} has room for {blocks * BLOCK_TOKENS} tokens beside the "
                    f"weights of {self.shape.name}; lower it, or raise --utilisation or --tp"
                )
            blocks = asked
        parts = IterationParts(self.topology, self.shape, group, dtype, blocks * BLOCK_TOKENS, most_tokens)
        swaps = None
        if self.limits.swap:
            swaps = SwapTimes(self.topology, group[0], self.shape.layers, block_bytes(parts.sharding))
        host = HostCosts(spec.host_step_s, spec.host_sequence_s)
        return DeviceTimes(self.topology, parts, host, spec.grain, swaps), blocks

    def fresh_instances(self) -> list[ServingInstance]:
        """Instances without requests."""
        decide = self.scheduler.decide
        return [
            ServingInstance(InstanceState(number, KvPool(blocks), self.limits), times, decide)
            for number, (blocks, times) in enumerate(zip(self.pool_blocks, self.times, strict=True))
        ]

    def stream(self, rate_per_s: float | None = None) -> RequestStreamSpec:
        """The requests, at another mean rate where one is given.

        Raises:
            BadWorkload: one that no instance can hold to its end.
        """
        stream = open_requests(
            self.spec.requests, self.spec.lengths, self.spec.num_prompts, self.spec.seed, rate_per_s,
            self.spec.classes, self.spec.max_model_len,
        )  # fmt: skip
        check_requests(stream, self.shape, min(self.pool_blocks))
        return self.scheduler.prepare(stream)


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
    setup = setup or ServingSetup(spec)
    stream = setup.stream(rate_per_s)
    instances = setup.fresh_instances()
    step = max(1, len(stream.requests) // 200)

    def tell(done: int, total: int) -> None:
        if progress is not None and (done % step == 0 or done == total):
            progress(done, total, "requests")

    loop = ServingLoop(instances, stream, None, tell)
    loop.run()
    slos = {"": spec.slo, **stream.slos} if spec.slo else stream.slos
    metrics = measure_requests(loop.states, [np.array(each.progress.step_end_at) for each in instances], slos)
    found = ServingExperiment(
        spec, setup.topology, setup.shape, setup.scheduler, stream, instances, loop.states, metrics, loop.now,
        wall_clock_s() - begun_s, list(stream.notes), queue_growth_per_s(loop.states, stream),
        audit(setup.topology, setup.device_times[0], spec.exact), sum(each.executed for each in setup.device_times),
    )  # fmt: skip
    if found.growth_per_s:
        found.notes.append(
            f"the rate never drains: the queue grows by {found.growth_per_s:.3g} requests a second while requests "
            f"arrive; latencies depend on how many there are (--num-prompts); lower the rate or add instances"
        )
    return found


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


def check_requests(stream: RequestStreamSpec, shape: ModelShape, blocks: int) -> None:
    """Refuses requests that no instance can hold to their end.

    Raises:
        BadWorkload: longer than the model has positions, or than the KV pool.
    """
    longest = max(stream.requests, key=lambda request: request.total_tokens)
    total = longest.total_tokens
    if total > shape.max_positions:
        raise BadWorkload(
            f"request {longest.number} of {stream.name} has {longest.prompt_tokens} + {longest.output_tokens} tokens, "
            f"and {shape.name} was made for {shape.max_positions}; choose another model or shorter --lengths, or cut "
            f"them with --max-model-len {shape.max_positions}"
        )
    if total > blocks * BLOCK_TOKENS:
        raise BadWorkload(
            f"request {longest.number} of {stream.name} has {total} tokens, and the KV pool holds "
            f"{blocks * BLOCK_TOKENS}; raise --tp, --utilisation or --kv-tokens, or choose shorter --lengths"
        )


def device_groups(topology: Topology, spec: ServeSpec) -> list[tuple[str, ...]]:
    """Devices of every instance, in the order of the topology.

    Raises:
        BadTopology: fewer devices than instances need.
    """
    found = [each.name for kind in ("gpu", "npu") for each in topology.of_kind(kind)
             if each.spec.compute_queue is not None]  # fmt: skip
    if not found:
        raise BadTopology(f"topology {topology.name!r} has no GPU that computes; choose another --topology")
    need = spec.instances * spec.tp
    for name in ("instances", "tp"):
        if getattr(spec, name) < 1:
            raise BadWorkload(f"--{name} is {getattr(spec, name)}; at least 1 is needed")
    if need > len(found):
        raise BadTopology(
            f"{spec.instances} instances of {spec.tp} devices need {need}, and topology {topology.name!r} has "
            f"{len(found)}; lower --instances or --tp, or declare more devices with --set"
        )
    return [tuple(found[index * spec.tp : (index + 1) * spec.tp]) for index in range(spec.instances)]


def _check_shape(shape: ModelShape) -> None:
    """Refuses models with parts that iterations cannot be made of.

    Raises:
        BadWorkload: names the part.
    """
    if shape.parts:
        raise BadWorkload(
            f"{shape.name} has {' and '.join(shape.parts)}, which serving does not take yet; choose a dense --model"
        )


def objective(slo: Slo) -> str:
    """An objective as text."""
    bounds = (("ttft", slo.ttft_s), ("tpot", slo.tpot_s), ("itl", slo.itl_s), ("e2e", slo.e2e_s))
    return ",".join(f"{name}={bound * 1e3:g}ms" for name, bound in bounds if bound is not None)


__all__ = ["ServerLimits", "ServingExperiment", "ServingSetup", "serve"]
