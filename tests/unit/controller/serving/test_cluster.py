"""Clusters of toy instances: requests are routed, moved and pulled, and none is lost."""

import numpy as np
import pytest

from controller.conformance.serving_toys import ToyTimes, serving_toys
from controller.serving.client_request import ClientRequest, RequestStreamSpec
from controller.serving.cluster import ServingCluster
from controller.serving.cluster_state import BOTH, ClusterState, Migration
from controller.serving.clusters import distserve, least_loaded, llumnix, round_robin
from controller.serving.clusters.table import CLUSTERS, load_cluster
from controller.serving.fleet import InstanceSpec, start_instances
from controller.serving.kv_movers import LineMover
from controller.serving.kv_pool import KvPool
from controller.serving.loop import ServingLoop
from controller.serving.schedulers import decode_only, prefill_only, vllm
from controller.serving.state import InstanceState, RequestState, ServerLimits
from controller.serving.token_times import token_instants


def run(name: str, stream: RequestStreamSpec, blocks: int = 60, count: int = 4, stages: int = 1, **options: float):
    entry = load_cluster(name)
    limits = ServerLimits(16, 256)
    roles = ["prefill", "prefill", "decode", "decode"][:count] if entry.roles else []
    specs = [
        InstanceSpec(
            ToyTimes(), blocks, limits,
            {"prefill": prefill_only.decide, "decode": decode_only.decide}.get(role, vllm.decide), stages,
        )
        for role in (roles or [BOTH] * count)
    ]  # fmt: skip
    instances = start_instances(specs)
    cluster = ServingCluster(entry, instances[:count], LineMover(1e-5, 1e-4), roles, options)
    loop = ServingLoop(instances, stream, cluster)
    loop.run()
    cluster.close(loop.now)
    return loop, cluster


@pytest.mark.parametrize("name", CLUSTERS)
def test_every_request_ends_once_with_all_of_its_tokens(name: str) -> None:
    for toy in serving_toys():
        loop, _ = run(name, toy.stream, period=0.002, out=200, into=1)
        ends = [np.array(each.progress.step_end_at) for each in loop.instances]
        for state in loop.states:
            assert state.outcome == "ok"
            instants = token_instants(state, ends)
            assert len(instants) == state.request.output_tokens, (toy.name, state)
            assert (np.diff(instants) > 0).all()
        for instance in loop.instances:
            assert instance.state.pool.held_blocks == 0, toy.name


def test_two_stages_have_two_lanes_over_one_pool() -> None:
    toy = serving_toys()[0]
    loop, _ = run("round_robin", toy.stream, count=2, stages=2)
    assert len(loop.instances) == 4
    assert loop.instances[2].state.pool is loop.instances[0].state.pool
    assert all(each.iterations for each in loop.instances)
    assert all(state.outcome == "ok" for state in loop.states)


def test_a_request_that_moves_is_down_for_its_last_copy_alone() -> None:
    requests = [ClientRequest(0, 0.0, 100, 60), *(ClientRequest(n, 0.001, 100, 60) for n in range(1, 9))]
    loop, cluster = run("llumnix", RequestStreamSpec(requests, "x"), count=2, period=0.004, out=1000, into=1, blocks=80)
    assert cluster.moves.migrations > 0
    moved = [state for state in loop.states if state.migrations]
    # The last copy: at most a block, at 10 us a token, and the rest of the iteration that it joins behind.
    assert all(0 < state.downtime_s / state.migrations < 1e-4 + 17e-5 for state in moved)


def states(*used: int) -> ClusterState:
    found = []
    for number, blocks in enumerate(used):
        state = InstanceState(number, KvPool(100), ServerLimits())
        state.pool.take(blocks)
        state.decoding[number] = RequestState(ClientRequest(number, 0.0, 16 * blocks, 9), "decoding")
        found.append(state)
    return ClusterState(found, [BOTH] * len(used), [True] * len(used))


def test_routes() -> None:
    request = ClientRequest(0, 0.0, 10, 10)
    cluster = states(50, 10, 30)
    assert least_loaded.route(cluster, request) == 1
    assert llumnix.route(cluster, request) == 1
    assert [round_robin.route(cluster, request)] == [0]
    cluster.routed = 5
    assert round_robin.route(cluster, request) == 2
    cluster.instances[1].draining = True
    assert least_loaded.route(cluster, request) == 2


def test_the_least_free_instance_is_paired_with_the_freest() -> None:
    cluster = states(99, 10, 50)
    assert llumnix.rebalance(cluster, 0.0) == []
    cluster.options = {"out": 20.0, "into": 100.0}
    assert llumnix.rebalance(cluster, 0.0) == [Migration(0, 0, 1)]
    assert llumnix.freeness(cluster.instances[0]) == 16.0


def test_scaling_keeps_freeness_in_a_range() -> None:
    assert llumnix.scale(states(100, 100), 0.0) == 1
    assert llumnix.scale(states(10, 10), 0.0) == -1
    assert llumnix.scale(states(98, 98), 0.0) == 0


def test_decode_instances_pull_and_prompts_queue_where_fewest_tokens_wait() -> None:
    cluster = states(10, 10, 10, 10)
    cluster.roles = ["prefill", "prefill", "decode", "decode"]
    request = ClientRequest(9, 0.0, 10, 10)
    cluster.instances[0].waiting.append(RequestState(request))
    assert distserve.route(cluster, request) == 1
    cluster.moving = {5: 2}
    assert distserve.pull_to(cluster, request) == 3
