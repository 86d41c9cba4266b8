"""Llumnix: requests go where most decode steps are left, and move while they run.

Paper: Sun et al., 'Llumnix: Dynamic Scheduling for Large Language Model Serving', OSDI 2024 (arXiv 2406.03243).
Follows: algorithm 1 and section 4.4: freeness F = (M - sum of virtual usages) / B; a queued request counts with its
    demand only at the head of the line, a running one with its blocks and a share of the headroom of its priority; an
    instance that drains counts as overloaded. Dispatch to the highest F; every `period_s` instances below `out` are
    paired with those above `into`, lowest with highest, and the source moves a request of low priority and few tokens;
    auto-scaling keeps the mean F of all instances between `scale_low` and `scale_high`. With de-fragmentation the
    waiting head counts, as in the artifact: (free blocks - blocks of the first waiting) / (running + waiting).
Differs: one migration between two instances at a time.
Checked by: tests/unit/controller/serving/clusters, `windtunnel reproduce llumnix`.
"""

from __future__ import annotations

from controller.serving.client_request import ClientRequest
from controller.serving.cluster_state import ClusterState, Migration
from controller.serving.state import InstanceState, RequestState

HEADROOM_TOKENS = 1_600
"""What keeps an instance with a request of high priority at the load without interference (section 6.4)."""
HIGH = 0
"""Priority of requests that get headroom where others have a lower one."""


def freeness(instance: InstanceState, headroom_tokens: int = 0) -> float:
    """Decode steps until memory is full; below 0 for an overloaded instance [tokens a request]."""
    if instance.draining:
        return float("-inf")
    size, pool = instance.pool.block_tokens, instance.pool
    used = pool.held_blocks * size
    if instance.waiting:
        used += instance.blocks_for(instance.waiting[0].prompt_tokens) * size
    if headroom_tokens and any(each.request.priority < 0 for each in instance.decoding.values()):
        used += headroom_tokens
    batch = instance.running_count + len(instance.waiting)
    return (pool.capacity_blocks * size - used) / max(1, batch)


def route(state: ClusterState, request: ClientRequest) -> int:
    """The instance with the highest freeness."""
    headroom = int(state.options.get("headroom", 0))
    return max(state.open_numbers(), key=lambda number: (freeness(state.instances[number], headroom), -number))


def rebalance(state: ClusterState, now: float) -> list[Migration]:
    """Pairs of instances below and above the thresholds, and a request that moves between each."""
    out, into = state.options.get("out", 3.0), state.options.get("into", 3.0)
    headroom = int(state.options.get("headroom", 0))
    busy = set(state.moving.values())
    loads = [
        (freeness(instance, headroom), number) for number, instance in enumerate(state.instances) if state.runs(number)
    ]
    sources = sorted(pair for pair in loads if pair[0] < out)
    targets = sorted((pair for pair in loads if pair[0] > into), reverse=True)
    found: list[Migration] = []
    for (_, source), (free, target) in zip(sources, targets, strict=False):
        if source == target or target in busy:
            continue
        chosen = _leaves_first(state, state.instances[source], free)
        if chosen is not None:
            found.append(Migration(chosen.request.number, source, target))
    return found


def _leaves_first(state: ClusterState, instance: InstanceState, free: float) -> RequestState | None:
    """The request that moves: the least important, of those the shortest."""
    fitting = [each for number, each in instance.decoding.items() if number not in state.moving]
    return min(fitting, key=lambda each: (-each.request.priority, instance.context_of(each)), default=None)


def scale(state: ClusterState, now: float) -> int:
    """One instance more or less, where the mean freeness leaves its range."""
    loads = [
        freeness(instance) for number, instance in enumerate(state.instances)
        if state.runs(number) and not instance.draining
    ]  # fmt: skip
    mean = sum(loads) / max(1, len(loads))
    if mean < state.options.get("scale_low", 10.0):
        return 1
    return -1 if mean > state.options.get("scale_high", 60.0) and len(loads) > 1 else 0
