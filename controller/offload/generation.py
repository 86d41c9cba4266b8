"""The decode loop as a program: it submits the plans that a strategy makes and reads back one token per step.

The strategy decides where bytes lie and who computes; this program decides what runs next. A scheduler that batches
requests replaces this file and no strategy.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from controller.models.scenario import Scenario
from controller.offload.scratch import Scratch
from controller.plan.ops import Buffer, Plan
from controller.program.results import GenerationResult
from controller.program.run import Array, GenerationProgram, Run
from controller.program.waits import Ticket


@dataclass(frozen=True, slots=True)
class BoundPlan:
    """A plan with numbers for its open sizes."""

    plan: Plan
    bindings: Mapping[str, int]
    scratch: Scratch | None = None
    """Arenas that it needs, which are placed before it runs."""


class OffloadedDecoder(Protocol):
    """What a decoding strategy offers the loop.

    Attributes:
        next_ids: token ids of the last step (batch).
        logits: of the last step (batch, vocab).
    """

    next_ids: Buffer
    logits: Buffer

    def place(self, run: Run) -> None:
        """Allocates everything that lives for the whole generation, weights with their content."""

    def prefill(self) -> Iterator[BoundPlan]:
        """The plans of the prompt phase, in order; the last one leaves the first token in `next_ids`."""

    def step(self, generated: int) -> BoundPlan:
        """The plan that consumes generated token number `generated` (from 0) and leaves the next one."""


def generate(run: Run, scenario: Scenario, decoder: OffloadedDecoder) -> GenerationProgram:
    """Prefill, then one step a token until `output_tokens` or a stop token."""
    decoder.place(run)
    for bound in decoder.prefill():
        yield submit_bound(run, bound)
    run.mark("prefill")
    tokens: list[tuple[int, ...]] = []
    logits: list[Array] = []
    count = 0
    for index in range(scenario.output_tokens):
        ids = yield run.fetch(decoder.next_ids)
        count += 1
        if ids is not None:
            tokens.append(tuple(int(token) for token in np.asarray(ids).reshape(-1)))
            logits.append((yield run.fetch(decoder.logits)))
            if scenario.batch == 1 and tokens[-1][0] in scenario.stop_ids:
                break
        run.progress(index + 1, scenario.output_tokens, "decode")
        if index + 1 < scenario.output_tokens:
            yield submit_bound(run, decoder.step(index))
    run.mark("decode")
    return GenerationResult(count * scenario.batch, tuple(tokens), tuple(logits))


def submit_bound(run: Run, bound: BoundPlan) -> Ticket:
    """Starts a plan after placing what it needs."""
    if bound.scratch is not None:
        bound.scratch.place(run)
    return run.submit(bound.plan, **bound.bindings)
