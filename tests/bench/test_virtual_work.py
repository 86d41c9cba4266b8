"""How much work a virtual generation is, in exact counts; how long it takes is for ``scripts/bench virtual``.

OPT-13B at batch 256 on one drive: 32 prompt passes of 8 rows, then steps, every sixteenth of which writes a full group
to flash. That makes three plans, each compiled once, however many steps there are.
"""

from __future__ import annotations

from collections import Counter

import pytest

from controller.execute import virtual
from controller.execute.costs import Costs
from controller.execute.template import Template
from controller.execute.virtual import VirtualRun, run_virtual
from controller.experiment.run_spec import RunSpec
from controller.experiment.virtual import prepare, virtual_scenario
from controller.strategies.instinfer import InstInfer, instinfer

STEPS = 40
LAYERS = 40
MINI_BATCHES = 2


@pytest.fixture(scope="module")
def scenario():
    options = {"mini_batches": str(MINI_BATCHES)}
    request = RunSpec("instinfer", "opt-13b", batch=256, prompt_tokens=1024, output_tokens=STEPS, options=options)
    strategy, topology, shape = prepare(request)
    return virtual_scenario(request, strategy, topology, shape)


@pytest.fixture
def counts(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Calls by name."""
    found: Counter[str] = Counter()

    def counted(owner: type, name: str) -> None:
        original = getattr(owner, name)

        def call(*words, **named):
            found[f"{owner.__name__}.{name}"] += 1
            return original(*words, **named)

        monkeypatch.setattr(owner, name, call)

    counted(Template, "_build")
    counted(Template, "bind")
    counted(Costs, "of_kernel")
    counted(Costs, "of_transfer")
    counted(VirtualRun, "submit")
    monkeypatch.setattr(virtual, "check_submission", lambda *words: found.update(["check"]))
    return found


def test_plans_are_compiled_once_and_bound_again(scenario, counts: Counter[str]) -> None:
    assert run_virtual(scenario.topology, [lambda run: instinfer(run, scenario)]).ok
    passes = 256 // 8
    assert counts["VirtualRun.submit"] == passes + STEPS - 1
    assert counts["Template._build"] == counts["check"] == 3, "a pass, a step, a step that flushes"
    assert counts["Template.bind"] == passes + STEPS - 1 - 3


def test_a_step_at_another_context_costs_two_kernels(scenario, counts: Counter[str]) -> None:
    """Attention, and the append whose slot moves; both mini-batches and all layers have one signature."""
    decoder = InstInfer(scenario)
    costs = Costs(scenario.topology, VirtualRun(scenario.topology).fabric)
    first, second = decoder.step(0), decoder.step(1)
    template = Template(first.plan, costs, first.bindings)
    counts.clear()
    template.bind(second.bindings)
    assert (counts["Costs.of_kernel"], counts["Costs.of_transfer"]) == (2, 0)


def test_a_step_has_a_handful_of_costs(scenario, counts: Counter[str]) -> None:
    decoder = InstInfer(scenario)
    costs = Costs(scenario.topology, VirtualRun(scenario.topology).fabric)
    step = decoder.step(0)
    counts.clear()
    template = Template(step.plan, costs, step.bindings)
    kernels = sum(hasattr(op, "op") for op in step.plan.ops)
    assert len(step.plan.ops) == 1532
    assert counts["Costs.of_kernel"] + counts["Costs.of_transfer"] < 20, "forty layers cost what one does"
    launched = sum(hasattr(op, "op") and op.device == "gpu" for op in step.plan.ops)
    assert template.activities.count == len(step.plan.ops) + launched, "one activity an op, one a launch by the host"
    attention = LAYERS * MINI_BATCHES
    assert kernels - launched == 4 * attention, "the host's command, append K, append V, attend"
