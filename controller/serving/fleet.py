"""Instances of a server as the loop runs them: one for each replica, or a lane for each pipeline stage of one."""

from __future__ import annotations

from dataclasses import dataclass, replace

from controller.serving.instance import Decide, ServingInstance
from controller.serving.iteration_times import IterationTimes
from controller.serving.kv_pool import KvPool
from controller.serving.kv_tiers import KvTier, KvTiers
from controller.serving.pipeline import StagePipeline
from controller.serving.state import InstanceState, ServerLimits


@dataclass(frozen=True, slots=True)
class InstanceSpec:
    """What one instance is started with.

    Attributes:
        times: of its iterations, through all stages.
        blocks: of its KV pool.
        limits: of its scheduler.
        decide: its scheduler.
        stages: of its pipeline.
        devices: how many it has.
        host_blocks: of prefixes that the host's memory behind it keeps.
    """

    times: IterationTimes
    blocks: int
    limits: ServerLimits
    decide: Decide
    stages: int = 1
    devices: int = 1
    host_blocks: int = 0


def start_instances(specs: list[InstanceSpec]) -> list[ServingInstance]:
    """The instances; the first lane of each stands for it, and further ones come behind all of these."""
    found = [_instance(number, spec, _pool(spec)) for number, spec in enumerate(specs)]
    further: list[ServingInstance] = []
    for spec, first in zip(specs, list(found), strict=True):
        for _ in range(1, spec.stages):
            lane = _instance(len(found) + len(further), spec, first.state.pool)
            lane.state.waiting, lane.pipeline, lane.lanes = first.state.waiting, first.pipeline, first.lanes
            first.lanes.append(lane)
            further.append(lane)
    return found + further


def _pool(spec: InstanceSpec) -> KvPool:
    return KvPool(spec.blocks, tiers=KvTiers([KvTier("dram", spec.host_blocks)]) if spec.host_blocks else None)


def _instance(number: int, spec: InstanceSpec, pool: KvPool) -> ServingInstance:
    limits = replace(spec.limits, max_requests=max(1, spec.limits.max_requests // spec.stages))
    pipeline = StagePipeline(spec.stages) if spec.stages > 1 else None
    return ServingInstance(InstanceState(number, pool, limits), spec.times, spec.decide, pipeline)
