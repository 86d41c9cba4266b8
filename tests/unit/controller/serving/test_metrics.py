"""Latencies of a run that can be worked out by hand."""

import numpy as np
import pytest

from controller.serving.client_request import ClientRequest, RequestStreamSpec, Slo
from controller.serving.instance import ServingInstance
from controller.serving.iteration_times import IterationLoad
from controller.serving.kv_pool import KvPool
from controller.serving.loop import ServingLoop
from controller.serving.metrics import measure_requests
from controller.serving.schedulers.vllm import decide
from controller.serving.state import InstanceState, ServerLimits


class Seconds:
    """A second an iteration."""

    def iteration_s(self, load: IterationLoad) -> float:
        return 1.0

    def decode_steps_s(self, rows: int, context_tokens: int, count: int) -> list[float]:
        return [1.0] * count


def served(*requests: tuple[float, int, int], blocks: int = 100) -> tuple[ServingLoop, list[np.ndarray]]:
    stream = RequestStreamSpec([ClientRequest(number, *each) for number, each in enumerate(requests)], "by hand")
    loop = ServingLoop([ServingInstance(InstanceState(0, KvPool(blocks), ServerLimits()), Seconds(), decide)], stream)
    loop.run()
    return loop, [np.array(each.progress.step_end_at) for each in loop.instances]


def test_two_requests_by_hand() -> None:
    # A: prefill 0-1, decode 1-2, prefill of B 2-3 (it came at 1.5), both decode 3-4 and 4-5, A ends at 5.
    loop, ends = served((0.0, 10, 4), (1.5, 10, 5))
    metrics = measure_requests(loop.states, ends, {"": Slo(ttft_s=1.2, tpot_s=1.5)})
    assert metrics.ttfts_s.tolist() == [1.0, 1.5]
    assert [state.end_at for state in loop.states] == [5.0, 7.0]
    assert metrics.tpots_s.tolist() == pytest.approx([4 / 3, 1.0])
    assert metrics.itl.count == 7 and metrics.itl.mean_s == pytest.approx((1 + 2 + 1 + 1 + 1 + 1 + 1) / 7)
    assert metrics.e2el.mean_s == pytest.approx((5 + 5.5) / 2)
    assert metrics.attained_ratio == 0.5 and metrics.by_bound == {"ttft": 0.5, "tpot": 1.0}
    assert metrics.goodput_per_s == pytest.approx(1 / 7)
    assert metrics.max_concurrency == 2


def test_the_keys_are_those_of_vllm() -> None:
    loop, ends = served((0.0, 10, 4))
    found = measure_requests(loop.states, ends).to_json()
    for name in ("ttft", "tpot", "itl", "e2el"):
        assert {f"{kind}_{name}_ms" for kind in ("mean", "median", "std", "p90", "p99")} <= found.keys()
    assert found["completed"] == 1 and found["total_output_tokens"] == 4 and found["duration"] == 4.0
    assert found["output_throughput"] == 1.0 and found["total_token_throughput"] == 14 / 4


def test_who_came_last_leaves_and_is_recomputed() -> None:
    # Two requests of 16 + 17 tokens in 3 blocks: at the edge of the first block only one can grow.
    loop, _ = served((0.0, 16, 17), (0.0, 16, 17), blocks=3)
    first, second = loop.states
    assert (first.preemptions, second.preemptions) == (0, 1)
    assert first.end_at < second.end_at and second.outcome == "ok"
    assert loop.instances[0].progress.recomputed_tokens == 16


def test_steps_with_their_requests_are_the_gaps_of_all_tokens() -> None:
    from controller.conformance.serving_toys import serving_toys
    from controller.serving.metrics import LatencySummary
    from controller.serving.token_times import token_gaps
    from controller.serving.weighted_gaps import weighted_gaps

    for toy in serving_toys()[:3]:
        loop = loop_of(toy)
        ends = [np.array(each.progress.step_end_at) for each in loop.instances]
        states = [state for state in loop.states if state.request.output_tokens > 1]
        every = LatencySummary.of(np.concatenate([token_gaps(state, ends) for state in states]))
        weighted = LatencySummary.of_weighted(*weighted_gaps(states, ends))
        assert weighted.count == every.count
        for name in ("mean_s", "median_s", "std_s"):
            assert getattr(weighted, name) == pytest.approx(getattr(every, name), rel=1e-9), toy.name
        assert weighted.percentiles_s == pytest.approx(every.percentiles_s, rel=1e-9)


def loop_of(toy):
    from controller.conformance.serving_toys import ToyTimes
    from controller.serving.fleet import InstanceSpec, start_instances
    from controller.serving.loop import ServingLoop
    from controller.serving.schedulers import vllm
    from controller.serving.state import ServerLimits

    loop = ServingLoop(start_instances([InstanceSpec(ToyTimes(), 60, ServerLimits(16, 256), vllm.decide)]), toy.stream)
    loop.run()
    return loop
