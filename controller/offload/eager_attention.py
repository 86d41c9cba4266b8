"""Attention that keeps its scores, as frameworks without a fused kernel compute it: what it adds in memory and traffic.

A plan cannot run that arithmetic, so that the passes are copies of as many bytes.
"""

from __future__ import annotations

from controller.models.training_scenario import TrainingScenario
from controller.plan.ops import Buffer
from controller.plan.script import Script
from controller.program.run import Run

SCORE_BYTES = 5
"""For each pair of tokens and head: softmax 2, mask 1, dropped out 2 (Korthikanti et al., arXiv 2205.05198, 4.1)."""
SCORE_PASSES = 4
"""Passes over the scores, each reading and writing them once: product, scaling with mask, softmax, dropout."""


class EagerScores:
    """The scores of one layer on one GPU."""

    def __init__(self, scenario: TrainingScenario, gpu: str) -> None:
        pairs = scenario.batch * scenario.shape.heads * scenario.seq**2
        self._scores = [
            Buffer(gpu, "hbm", f"scores.{place}", scenario.dtype, (pairs,)) for place in range(SCORE_BYTES // 2)
        ]
        self._mask = Buffer(gpu, "hbm", "scores.mask", "int8", (pairs,))

    def place(self, run: Run) -> None:
        """Allocates scores and mask."""
        for buffer in (*self._scores, self._mask):
            run.place(buffer, written=True)

    def passes(self, s: Script) -> None:
        """Everything that one attention does with its scores."""
        first, second = self._scores
        for number in range(SCORE_PASSES):
            source, target = (first, second) if number % 2 == 0 else (second, first)
            s.op("copy", source, out=target, label="attention scores")
