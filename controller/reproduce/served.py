"""Servers on published surfaces, as several reproductions run them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from controller.reproduce.rows import PublishedRow, Value
from controller.serving.client_request import RequestStreamSpec, Slo
from controller.serving.cluster import ServingCluster
from controller.serving.clusters.table import load_cluster
from controller.serving.fleet import InstanceSpec, start_instances
from controller.serving.kv_movers import LineMover
from controller.serving.loop import ServingLoop
from controller.serving.metrics import ServingMetrics, measure_requests
from controller.serving.state import RequestState


@dataclass(frozen=True)
class ServedRun:
    """A run on surfaces.

    Attributes:
        metrics: of all requests.
        states: every request.
        cluster: the policy after the run; None for one instance.
        time_s: of the run [s].
    """

    metrics: ServingMetrics
    states: Sequence[RequestState]
    cluster: ServingCluster | None
    time_s: float


def run_servers(
    specs: list[InstanceSpec], stream: RequestStreamSpec, slo: Slo, policy: str = "", roles: Sequence[str] = (),
    copy_token_s: float = 0.0, copy_start_s: float = 0.0, gaps: bool = False, started: int | None = None,
    **options: float,
) -> ServedRun:  # fmt: skip
    """Runs servers to the end of all requests.

    Args:
        specs: of the instances.
        stream: the requests.
        slo: objective of every request.
        policy: of the cluster; "" for one instance.
        roles: of the instances, where the policy has roles.
        copy_token_s, copy_start_s: of a KV cache between two instances [s].
        gaps: whether times between tokens are wanted.
        started: instances that are on at first; None for all.
        options: of the policy.
    """
    instances = start_instances(specs)
    cluster = None
    if policy:
        mover = LineMover(copy_token_s, copy_start_s)
        cluster = ServingCluster(load_cluster(policy), instances[: len(specs)], mover, roles, options, started)
    loop = ServingLoop(instances, stream, cluster)
    loop.run()
    if cluster is not None:
        cluster.close(loop.now)
    ends = [np.array(each.progress.step_end_at) for each in instances]
    return ServedRun(measure_requests(loop.states, ends, {"": slo}, gaps=gaps), loop.states, cluster, loop.now)


def knee(rates: Sequence[float], attained: Sequence[float], attainment: float) -> float:
    """The rate at which a falling curve crosses `attainment`, on the line between its points; 0 if it is never above.

    The last rate where it stays above.
    """
    if attained[0] < attainment:
        return 0.0
    for index in range(1, len(rates)):
        if attained[index] < attainment:
            share = (attained[index - 1] - attainment) / (attained[index - 1] - attained[index])
            return rates[index - 1] + share * (rates[index] - rates[index - 1])
    return rates[-1]


def order_text(values: dict[str, float], descending: bool = True) -> str:
    """Names in the order of their values."""
    return " > ".join(sorted(values, key=lambda name: (-values[name] if descending else values[name], name)))


def bisect_rate(works: Callable[[float], bool], low: float, high: float, ratio: float = 1.04) -> float:
    """The highest rate that works between two, `low` of which is taken to [1/s]; 0 where `low` does not."""
    if not works(low):
        return 0.0
    while high / low > ratio:
        middle = (low * high) ** 0.5
        low, high = (middle, high) if works(middle) else (low, middle)
    return low


def row_of(
    table: str, row: Mapping[str, str | int | float], quantity: str, published: Value, unit: str, mark: str,
    ours: Callable[[], Value], tolerance: float | None = None, *, calibration: bool = False, why: str = "",
) -> PublishedRow:  # fmt: skip
    """A row whose value takes no run of the strategies; its keys are written without spaces."""
    key = {name: value.replace(" ", "_") if isinstance(value, str) else value for name, value in row.items()}
    return PublishedRow(
        table, key, quantity, published, unit, mark, lambda results: ours(), (), tolerance, calibration, why=why
    )  # fmt: skip
