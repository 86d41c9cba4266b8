"""Servers whose instances fail: every request ends with its tokens or a typed error, none is lost or doubled."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from controller.cli.main import main
from controller.conformance.serving_toys import ToyTimes, serving_toys
from controller.experiment.serving_live import serve_live
from controller.experiment.serving_spec import ServeSpec
from controller.faults.effects import Effects
from controller.serving.client_request import RequestStreamSpec
from controller.serving.cluster import ServingCluster
from controller.serving.cluster_state import BOTH
from controller.serving.clusters.table import CLUSTERS, load_cluster
from controller.serving.fleet import InstanceSpec, start_instances
from controller.serving.kv_movers import LineMover
from controller.serving.loop import ServingLoop
from controller.serving.outages import LOST, UNAVAILABLE, ServingOutages
from controller.serving.schedulers import decode_only, prefill_only, vllm
from controller.serving.state import ServerLimits
from controller.serving.token_times import token_instants
from controller.topology.fault import DEAD, Component, Fault

NOTHING = Effects()


def dead(*names: str) -> Effects:
    return Effects(dead=frozenset(Component("device", name) for name in names))


def run(name: str, stream: RequestStreamSpec, effects: list[tuple[float, Effects]], count: int = 4, stages: int = 1):
    entry = load_cluster(name) if count > 1 else None
    roles = ["prefill", "prefill", "decode", "decode"][:count] if entry is not None and entry.roles else []
    limits = ServerLimits(16, 256)
    decide = {"prefill": prefill_only.decide, "decode": decode_only.decide}
    specs = [
        InstanceSpec(ToyTimes(), 60, limits, decide.get(role, vllm.decide), stages) for role in roles or [BOTH] * count
    ]
    instances = start_instances(specs)
    cluster = None
    if entry is not None:
        options = {"period": 0.002, "out": 200, "into": 1}
        cluster = ServingCluster(entry, instances[:count], LineMover(1e-5, 1e-4), roles, options)
    outages = ServingOutages(cluster, effects, [[f"gpu{number}"] for number in range(count)])
    loop = ServingLoop(instances, stream, outages)
    loop.run()
    return loop, outages


def check(loop: ServingLoop) -> None:
    ends = [np.array(each.progress.step_end_at) for each in loop.instances]
    assert [state.request.number for state in loop.states] == list(range(len(loop.states)))
    for state in loop.states:
        assert state.outcome in ("ok", LOST, UNAVAILABLE)
        if state.outcome == "ok":
            instants = token_instants(state, ends)
            assert len(instants) == state.request.output_tokens and (np.diff(instants) > 0).all(), state
    for instance in loop.instances:
        assert instance.state.pool.held_blocks == 0 and not any(instance.state.at_edge)


@pytest.mark.parametrize("name", CLUSTERS)
def test_requests_of_a_dead_instance_go_on_elsewhere(name: str) -> None:
    """The first and the last die in turn, in the middle of prompts, steps, migrations and pulls."""
    lost = resent = 0
    for toy in serving_toys():
        for at in (0.005, 0.0217, 0.08):
            effects = [(at, dead("gpu0")), (at + 0.03, NOTHING), (at + 0.05, dead("gpu3")), (at + 0.1, NOTHING)]
            loop, outages = run(name, toy.stream, effects)
            check(loop)
            assert all(state.outcome == "ok" for state in loop.states), toy.name
            lost, resent = lost + outages.lost_blocks, resent + outages.resent
    assert lost > 0 and resent > 0


def test_one_instance_refuses_while_it_is_down_and_serves_again() -> None:
    stream = serving_toys()[0].stream
    last = stream.requests[-1].arrival_at
    loop, outages = run("", stream, [(last / 3, dead("gpu0")), (last / 2, NOTHING)], count=1)
    check(loop)
    outcomes = [state.outcome for state in loop.states]
    assert outcomes.count(LOST) == outages.lost > 0 and outcomes.count(UNAVAILABLE) == outages.refused > 0
    assert outcomes[-1] == "ok" and outages.resent == 0 and outages.lost_blocks > 0
    assert [what for _, _, what in outages.log] == ["down", "up"]


def test_prompts_whose_decode_instances_are_all_gone_end_with_an_error() -> None:
    stream = serving_toys()[1].stream
    loop, outages = run("distserve", stream, [(0.02, dead("gpu2", "gpu3"))])
    check(loop)
    assert outages.lost + outages.refused > 0 and outages.lost == sum(state.outcome == LOST for state in loop.states)


def test_a_pipeline_loses_both_of_its_lanes() -> None:
    loop, outages = run("round_robin", serving_toys()[0].stream, [(0.03, dead("gpu1")), (0.06, NOTHING)], 2, 2)
    check(loop)
    assert outages.resent > 0


def test_a_slow_device_makes_its_instance_slower() -> None:
    stream = serving_toys()[1].stream
    plain, _ = run("", stream, [], count=1)
    slow, outages = run("", stream, [(0.0, Effects(compute={"gpu0": 0.5}))], count=1)
    assert 1.9 < slow.now / plain.now <= 2.0 and outages.log == [(0.0, 0, "slower")]


def test_tokens_of_requests_that_were_sent_again_are_those_of_a_plain_run() -> None:
    faults = (Fault(Component("", "gpu_a0"), DEAD, 1.0, 0.005),)
    spec = ServeSpec(
        "tiny-opt", "a10_4", "vllm", "inf", "in=10,out=8", 4, "round_robin", 2, kv_tokens=320, faults=faults,
        host_step_s=1e-3,
    )  # fmt: skip
    found, checked = serve_live(spec, local=True)
    assert found.outages is not None and found.outages.resent == 2 and found.metrics.failed == 0
    assert checked.tokens_equal == checked.tokens_compared == 32


def test_the_command_line_takes_a_file_of_faults(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "faults.yaml"
    path.write_text("faults:\n  - {target: gpu_a0, kind: dead, at: 100 ms, for: 100 ms}\n")
    words = ["serve", "--model", "gpt-30m", "--topology", "a10_4", "--instances", "2", "--requests", "poisson:100/s",
             "--lengths", "in=64,out=40", "--num-prompts", "40", "--faults", str(path)]  # fmt: skip
    assert main([*words, "--json"]) == 0
    made = json.loads(capsys.readouterr().out)
    assert made["completed"] == 40 and made["faults"]["lost_kv_blocks"] > 0 < made["faults"]["requests_resent"]
    assert [event["what"] for event in made["faults"]["events"]] == ["down", "up"]
    path.write_text("faults:\n  - {target: gpu_z, kind: dead, at: 1 s}\n")
    assert main(words) == 2
    assert "gpu_z" in capsys.readouterr().err
