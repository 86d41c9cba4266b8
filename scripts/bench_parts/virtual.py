"""Measures the virtual executor on this machine: a decode step of OPT-13B at batch 256, and 1,024 of them.

A step is InstInfer's on one drive: 40 layers, two mini-batches, GPU and drive. `first` builds the plan, checks it,
compiles it and runs it in a process that has done so with another model before; `again` runs the same plan at another
context length.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from controller.execute.outcome import Outcome
from controller.execute.virtual import VirtualRun, run_virtual
from controller.experiment.run_spec import RunSpec
from controller.experiment.virtual import prepare, virtual_scenario
from controller.models.scenario import Scenario
from controller.offload.generation import OffloadedDecoder, submit_bound
from controller.plan.check import check_plan
from controller.program.drive import drive
from controller.program.run import Program, Run
from controller.strategies.instinfer import InstInfer, instinfer

FIRST_COUNT = 9
AGAIN_COUNT = 300


def scenario(model: str, batch: int) -> Scenario:
    """1,024 + 1,024 tokens of InstInfer on its own topology."""
    request = RunSpec("instinfer", model, batch=batch, prompt_tokens=1024, output_tokens=1024)
    strategy, topology, shape = prepare(request)
    return virtual_scenario(request, strategy, topology, shape)


def prepared(asked: Scenario) -> tuple[VirtualRun, OffloadedDecoder]:
    """A run in which everything that decode steps need is placed."""
    run, decoder = VirtualRun(asked.topology), InstInfer(asked)

    def prefill(view: Run) -> Program:
        decoder.place(view)
        for bound in decoder.prefill():
            yield submit_bound(view, bound)

    drive(run, [prefill(run)], lambda view: None)
    return run, decoder


def step(run: VirtualRun, decoder: OffloadedDecoder, generated: int) -> None:
    """One decode step from its plan to its end."""
    ticket = submit_bound(run, decoder.step(generated))
    run.advance((ticket.number,))


def seconds(work: Callable[[], object]) -> float:
    """Wall time of `work` [s]."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def main() -> None:
    """Prints the figures with what they are held to."""
    step(*prepared(scenario("opt-6.7b", 4)), 0)  # compiles the engine, fills nothing that is measured
    asked = scenario("opt-13b", 256)
    first: list[float] = []
    for _ in range(FIRST_COUNT):
        run, decoder = prepared(asked)
        first.append(seconds(lambda run=run, decoder=decoder: step(run, decoder, 0)))
    plan = decoder.step(0).plan
    again = [seconds(lambda index=index: step(run, decoder, index)) for index in range(1, AGAIN_COUNT)]
    # Every sixteenth step writes a full group to flash and is another plan; its first time is not `again`.
    typical = [again[index - 1] for index in range(1, AGAIN_COUNT) if index % 16 != 15]
    check = seconds(lambda: check_plan(plan, asked.topology, decoder.step(0).bindings))
    outcomes: list[Outcome] = []
    whole = seconds(lambda: outcomes.append(run_virtual(asked.topology, [lambda view: instinfer(view, asked)])))
    assert outcomes[0].ok
    print(
        f"a step of {len(plan.ops):,} ops, first                {1e3 * statistics.median(first):10.1f} ms      "
        f"(median of {len(first)}, best {1e3 * min(first):.1f}, under 50)"
    )
    print(f"the whole check of its plan, beside    {1e3 * check:10.1f} ms")
    print(
        f"the same at another context            {1e3 * statistics.median(typical):10.2f} ms      "
        f"(median of {len(typical)}, under 2; 90 % under {1e3 * statistics.quantiles(typical, n=10)[-1]:.2f})"
    )
    print(
        f"prefill and 1,024 steps                {whole:10.2f} s       "
        f"({outcomes[0].time_s / whole:,.0f} times faster than the devices)"
    )


if __name__ == "__main__":
    main()
