"""The decode loop: what it submits in which order, when it stops, and what it reports."""

import numpy as np
import pytest

from controller.execute.virtual import run_virtual
from controller.models.catalog import load_model
from controller.models.scenario import Scenario
from controller.offload.generation import BoundPlan, generate
from controller.plan.build import PlanBuilder
from controller.plan.ops import Buffer
from controller.program.results import GenerationResult
from controller.topology.loader import load_topology

MS = 1e-3


def plan(name: str, milliseconds: float):
    build = PlanBuilder(name)
    build.kernel("delay", "gpu", [], [], seconds=milliseconds * MS)
    return build.plan()


class ThreeStages:
    """A decoder of delays: two prompt passes of 10 ms, steps of 1 ms."""

    next_ids = Buffer("gpu", "hbm", "ids", "int64", (2,))
    logits = Buffer("gpu", "hbm", "logits", "fp32", (2, 5))

    def __init__(self) -> None:
        self.calls: list[str | int] = []
        self._step = plan("step", 1)

    def place(self, run) -> None:
        run.place(self.next_ids, written=True)
        run.place(self.logits, written=True)
        self.calls.append("place")

    def prefill(self):
        for number in range(2):
            self.calls.append(f"pass {number}")
            yield BoundPlan(plan("pass", 10), {})
        self.calls.append("prefilled")

    def step(self, generated: int) -> BoundPlan:
        self.calls.append(generated)
        return BoundPlan(self._step, {"unused": generated})


def scenario(batch: int = 2, output: int = 4, **fields) -> Scenario:
    return Scenario(load_topology("a6000_csd"), load_model("tiny-opt"), batch, 8, output, "fp32", **fields)


def test_prefill_gives_the_first_token_and_each_step_one_more() -> None:
    decoder = ThreeStages()
    outcome = run_virtual(scenario().topology, [lambda run: generate(run, scenario(), decoder)])
    assert decoder.calls == ["place", "pass 0", "pass 1", "prefilled", 0, 1, 2]
    # 6 us of launching in front of each delay of an otherwise idle GPU
    assert outcome.phases == {"prefill": pytest.approx(20 * MS, rel=1e-3), "decode": pytest.approx(3 * MS, rel=1e-2)}
    assert outcome.results == (GenerationResult(8),)
    assert outcome.reports() == {"generated_tokens": 8}


def test_one_token_takes_no_step() -> None:
    decoder = ThreeStages()
    outcome = run_virtual(scenario().topology, [lambda run: generate(run, scenario(output=1), decoder)])
    assert decoder.calls[-1] == "prefilled"
    assert outcome.phases["decode"] == 0


class Live:
    """A run that gives these tokens; the loop sees nothing else of it."""

    live, now = True, 0.0

    def __init__(self, *tokens: list[int]) -> None:
        self.tokens, self.result, self.done = list(tokens), None, []

    def place(self, *_, **__) -> None: ...

    def mark(self, phase: str) -> None: ...

    def submit(self, plan, **_):
        return plan.name

    def fetch(self, what):
        return what

    def progress(self, *what) -> None:
        self.done.append(what)

    def drive(self, program) -> None:
        value = None
        while True:
            try:
                wish = program.send(value)
            except StopIteration as stop:
                self.result = stop.value
                return
            value = None
            if wish is ThreeStages.next_ids:
                value = np.array(self.tokens.pop(0))
            elif wish is ThreeStages.logits:
                value = np.zeros((2, 5))


def test_a_single_sequence_ends_at_a_stop_token() -> None:
    run = Live([3], [7], [1], [9])
    run.drive(generate(run, scenario(batch=1, stop_ids=(1, 2)), ThreeStages()))
    assert run.result.tokens == ((3,), (7,), (1,))
    assert len(run.result.logits) == run.result.generated_tokens == 3


def test_a_batch_goes_on_until_all_have_their_tokens() -> None:
    run = Live([1, 3], [1, 1], [4, 4], [5, 5])
    run.drive(generate(run, scenario(stop_ids=(1,)), ThreeStages()))
    assert run.result.tokens == ((1, 3), (1, 1), (4, 4), (5, 5))
    assert run.done == [(1, 4, "decode"), (2, 4, "decode"), (3, 4, "decode"), (4, 4, "decode")]
