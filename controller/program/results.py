"""What a program hands on when it ends: the value that its generator returns, with fields that others act on.

    def program(run: Run, scenario: Scenario) -> GenerationProgram:
        ...
        return GenerationResult(scenario.batch * scenario.output_tokens)

Values are there in a live run only. What people alone read is told to the run instead, by `Run.figure` and `Run.note`,
as soon as it is known: it is in the report of a run that fails afterwards, too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy.typing as npt

Figure = str | int | float | Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class GenerationResult:
    """What was generated.

    Attributes:
        generated_tokens: over all sequences.
        tokens: ids of every step (steps, batch); empty without values.
        logits: of every step (batch, vocab); empty without values.
    """

    generated_tokens: int
    tokens: Sequence[Sequence[int]] = ()
    logits: Sequence[npt.NDArray[Any]] = field(default=(), compare=False, repr=False)

    @property
    def token_count(self) -> int:
        """What throughput counts."""
        return self.generated_tokens

    @property
    def rate_phase(self) -> str | None:
        """The phase whose length throughput divides by; None for the whole run."""
        return None

    def flat(self) -> dict[str, Figure]:
        """Figures by their key in ``--json``; no values."""
        return {"generated_tokens": self.generated_tokens}


@dataclass(frozen=True, slots=True)
class TrainingResult:
    """What was trained.

    Attributes:
        trained_tokens: over all steps and GPUs.
        gpus: how many GPUs trained, each on its own batch.
        rate_phase: the phase whose length throughput divides by; None for the whole run.
        losses: mean loss of every step; None without values.
        parameters: fp32 values by canonical name after the last step; None without values.
    """

    trained_tokens: int
    gpus: int = 1
    rate_phase: str | None = None
    losses: Sequence[float] | None = None
    parameters: Mapping[str, npt.NDArray[Any]] | None = field(default=None, compare=False, repr=False)

    @property
    def token_count(self) -> int:
        """What throughput counts."""
        return self.trained_tokens

    def flat(self) -> dict[str, Figure]:
        """Figures by their key in ``--json``; no values."""
        found: dict[str, Figure] = {"gpus": self.gpus, "trained_tokens": self.trained_tokens}
        return found if self.rate_phase is None else {**found, "rate_phase": self.rate_phase}


@dataclass(frozen=True, slots=True)
class CallResult:
    """What one call of a collective came to.

    Attributes:
        time_s: from submission to the end of its last op [s].
        wrong: elements that are wrong, over all ranks; None where no value was moved.
    """

    time_s: float
    wrong: int | None = None


@dataclass(frozen=True, slots=True)
class CollectiveResult:
    """What calls of collectives came to, in the order in which they were made."""

    calls: tuple[CallResult, ...]

    def flat(self) -> dict[str, Figure]:
        """Figures by their key in ``--json``."""
        wrong = [call.wrong for call in self.calls if call.wrong is not None]
        found: dict[str, Figure] = {"calls": len(self.calls)}
        return {**found, "wrong": sum(wrong)} if wrong else found


def calls_of(result: ProgramResult | None) -> tuple[CallResult, ...]:
    """The calls of a result; none where it has none."""
    return result.calls if isinstance(result, CollectiveResult) else ()


ProgramResult = GenerationResult | TrainingResult | CollectiveResult
