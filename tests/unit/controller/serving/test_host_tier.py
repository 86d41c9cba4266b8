"""Prefixes that leave the device go to host memory, come back for who asks, and the copies take time."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from controller.cli.main import main
from controller.conformance.serving_toys import ToyTimes, serving_toys
from controller.experiment.serving_cost import serving_cost
from controller.experiment.serving_run import serve
from controller.experiment.serving_spec import ServeSpec
from controller.serving.fleet import InstanceSpec, start_instances
from controller.serving.kv_pool import KvPool
from controller.serving.kv_tiers import KvTier, KvTiers
from controller.serving.loop import ServingLoop
from controller.serving.schedulers import sarathi, vllm
from controller.serving.state import ServerLimits


def test_what_was_evicted_is_restored_for_one_user_more() -> None:
    pool = KvPool(10, tiers=KvTiers([KvTier("dram", 8)]))
    pool.take(6)
    assert pool.share((1, 2, 3), 2) == 6
    pool.leave((1, 2, 3))
    pool.take(8)  # the end of the chain goes first
    assert pool.cached_hashes((1, 2, 3)) == 1 and pool.evicted_blocks == 4 and pool.tiers is not None
    assert pool.tiers.holds((2, 3)) == 2
    pool.use((1,))
    pool.give(6)
    assert pool.restore((2, 3), 2) == 2 and pool.fetched_blocks == 4 and pool.cached_hashes((1, 2, 3)) == 3
    assert pool.held_blocks == 2 + 6 and pool.available_blocks == 2 and pool.tiers.holds((2,)) == 0
    assert pool.restore((9,), 2) == 0


@pytest.mark.parametrize("decide", [vllm.decide, sarathi.decide])
def test_requests_with_prefixes_end_with_copies_from_the_host(decide) -> None:
    stream = next(toy.stream for toy in serving_toys() if toy.name == "shared prefixes")
    found = []
    for host_blocks in (0, 500):
        spec = InstanceSpec(ToyTimes(), 30, ServerLimits(16, 256), decide, host_blocks=host_blocks)
        loop = ServingLoop(start_instances([spec]), stream)
        loop.run()
        assert all(state.outcome == "ok" for state in loop.states)
        pool = loop.instances[0].state.pool
        assert pool.held_blocks == 0
        found.append((pool.hit_tokens, pool.fetched_blocks))
    assert found[0][1] == 0 < found[1][1] and found[1][0] > found[0][0]


def test_a_host_that_is_too_small_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["serve", "--model", "gpt-30m", "--topology", "a6000_ssd", "--requests", "inf", "--lengths", "in=9,out=2"]
    assert main([*words, "--num-prompts", "3", "--host-kv-tokens", "1000000000"]) == 2
    assert "of host memory; lower it" in capsys.readouterr().err
    assert main([*words, "--num-prompts", "3", "--host-kv-tokens", "1600", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["instances"][0]["kv_fetched_blocks"] == 0


def test_energy_and_money_of_a_million_tokens() -> None:
    spec = ServeSpec("gpt-30m", "a6000_ssd", requests="inf", lengths="in=20,out=50", num_prompts=8, exact=0)
    found = serve(spec)
    cost = serving_cost(found, 0.8)
    power = found.topology.devices["gpu"].spec.power_w
    drawn = cost.energy.energy_j
    assert drawn is not None and power["idle"] * found.time_s < drawn < power["busy"] * found.time_s
    assert cost.joule_per_million_tokens == pytest.approx(drawn / 400 * 1e6)
    assert cost.usd_per_million_tokens == pytest.approx(0.8 * found.time_s / 3600 / 400 * 1e6)
    host = serve(replace(spec, host_step_s=50e-3))  # the device waits for its host
    assert host.time_s > 3 * found.time_s
    longer = serving_cost(host, 0.8).energy.energy_j
    assert longer is not None and longer - drawn == pytest.approx(
        power["idle"] * (host.time_s - found.time_s), rel=0.02
    )
