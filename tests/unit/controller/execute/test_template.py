"""A template bound to other sizes is what compiling anew would give, to the last bit."""

import numpy as np
import pytest

from controller.execute.costs import Costs
from controller.execute.template import Template
from controller.execute.virtual import run_virtual
from controller.fabric.loads import Fabric
from controller.models.catalog import load_model
from controller.models.scenario import Scenario
from controller.plan.build import PlanBuilder
from controller.plan.ops import Buffer, View
from controller.plan.size import symbol
from controller.strategies.flexgen import flexgen
from controller.strategies.instinfer import InstInfer
from controller.topology.loader import load_topology


def same(template: Template, bound, other: Template) -> None:
    fresh = other.first_bound()
    for name in ("work", "latency_s", "rate_limit", "load_weight"):
        assert np.array_equal(getattr(bound, name), getattr(fresh, name)), name
    assert np.array_equal(template.activities.load_resource, other.activities.load_resource)


@pytest.fixture(scope="module")
def decoder() -> InstInfer:
    shape = load_model("opt-6.7b")
    return InstInfer(Scenario(load_topology("a6000_2csd"), shape, 8, 64, 64, "fp16"))


@pytest.mark.parametrize("steps", [(1, 40), (40, 1), (20, 21), (63 - 16, 15)])
def test_a_decode_step_at_another_context(decoder, steps: tuple[int, int]) -> None:
    topology = decoder.scenario.topology
    costs = Costs(topology, Fabric(topology))
    first, second = (decoder.step(index) for index in steps)
    assert first.plan is second.plan
    template = Template(first.plan, costs, first.bindings)
    bound = template.bind(second.bindings)
    assert bound is not None
    same(template, bound, Template(second.plan, costs, second.bindings))
    before = template.bind(first.bindings)
    same(template, before, Template(first.plan, costs, first.bindings))


def test_a_step_that_loads_other_resources_is_compiled_anew(decoder) -> None:
    """Before the first group is full no generated token is in flash; every step still reads the prompt there."""
    topology = decoder.scenario.topology
    build = PlanBuilder("none or some")
    cache = [
        Buffer("csd0", tier, f"{tier}{part}", "fp16", (1, 1, 16, 64)) for tier in ("flash", "dram") for part in "kv"
    ]
    query, out = (Buffer("csd0", "dram", name, "fp16", (1, 1, 64)) for name in ("q", "o"))
    lse = Buffer("csd0", "dram", "lse", "fp32", (1, 1))
    build.kernel("decode_attention", "csd0", [query, *cache], [out, lse], tokens=(symbol("n"), 1), scale=1.0)
    plan = build.plan()
    costs = Costs(topology, Fabric(topology))
    assert Template(plan, costs, {"n": 0}).bind({"n": 3}) is None
    assert Template(plan, costs, {"n": 2}).bind({"n": 3}) is not None

    def program(*tokens: int):
        def go(run):
            for buffer in (*cache, query, out, lse):
                run.place(buffer, written=True)
            for n in tokens:
                yield run.submit(plan, n=n)

        return go

    alone = [run_virtual(topology, [program(n)]).time_s for n in (0, 3)]
    assert run_virtual(topology, [program(0, 3, 0)]).time_s == pytest.approx(2 * alone[0] + alone[1], rel=1e-12)
    assert alone[1] > alone[0]


def test_a_generation_does_not_depend_on_what_ran_before() -> None:
    """The same run twice in one process, with another in between, gives the same numbers."""
    topology, shape = load_topology("a6000_ssd"), load_model("tiny-opt")
    scenario = Scenario(topology, shape, 3, 16, 12, "fp16")
    other = Scenario(topology, shape, 2, 20, 5, "fp16")

    def run(which: Scenario):
        outcome = run_virtual(topology, [lambda run: flexgen(run, which)])
        return outcome.time_s, outcome.resources, outcome.op_times, outcome.peak_bytes

    first = run(scenario)
    run(other)
    assert run(scenario) == first


def test_rows_of_one_signature_cost_the_same_wherever_they_are() -> None:
    topology = load_topology("a6000_csd")
    build = PlanBuilder("twins")
    parts = [Buffer("gpu", "hbm", name, "fp16", (64, 64)) for name in "abcd"]
    n = symbol("n")
    for source, target in (parts[:2], parts[2:]):
        build.kernel("copy", "gpu", [View(source, 0, (n, 64))], [View(target, 0, (n, 64))])
    template = Template(build.plan(), Costs(topology, Fabric(topology)), {"n": 1})
    bound = template.bind({"n": 7})
    kernels = np.flatnonzero(template.op_of >= 0)
    assert bound.work[kernels].tolist() == [2 * 7 * 64 * 2] * 2
    assert template.row_names() == ["launch", "copy", "launch", "copy"]
