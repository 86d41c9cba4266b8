"""Results of programs: the value that the generator returns, with typed fields for code that acts on them.

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

import numpy as np
import numpy.typing as npt

Figure = str | int | float | Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class GenerationResult:
    """What was generated.

    Attributes:
        generated_tokens: over all sequences.
        tokens: ids of every step (steps, batch); empty without values.
        logits: of every step (batch, vocab); empty without values.
        rounded: what the program itself rounds on the way, for people, to the largest error of an element over its
            size.
        dropped_choices: of an expert by a token, because the expert was full; None where none is full, or without
            values.
    """

    generated_tokens: int
    tokens: Sequence[Sequence[int]] = ()
    logits: Sequence[npt.NDArray[Any]] = field(default=(), compare=False, repr=False)
    rounded: Mapping[str, float] = field(default_factory=dict, compare=False)
    dropped_choices: int | None = None

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
        found: dict[str, Figure] = {"generated_tokens": self.generated_tokens}
        return found if self.dropped_choices is None else {**found, "dropped_choices": self.dropped_choices}


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
class Latencies:
    """A sample of durations.

    Attributes:
        values_s: in any order [s].
        counts: how often each value was measured; None for once each.
    """

    values_s: npt.ArrayLike = ()
    counts: npt.ArrayLike | None = None

    @property
    def count(self) -> int:
        """Size of the sample."""
        return int(self._counts().sum())

    @property
    def mean_s(self) -> float:
        """Arithmetic mean [s].

        Raises:
            ValueError: an empty sample.
        """
        values, counts = self._values(), self._counts()
        return float((values * counts).sum() / self._checked_count(counts))

    def quantile_s(self, ratio: float) -> float:
        """The duration that a share `ratio` of the sample does not exceed, with numpy's linear interpolation [s].

        Raises:
            ValueError: an empty sample.
        """
        values, counts = self._values(), self._counts()
        place = ratio * (self._checked_count(counts) - 1)
        order = np.argsort(values, kind="stable")
        # The value at rank r is the first one up to which more than r were counted.
        ends = np.cumsum(counts[order])
        low, high = values[order[np.searchsorted(ends, [np.floor(place), np.ceil(place)], side="right")]].tolist()
        return float(low + (high - low) * (place - np.floor(place)))

    def flat(self, name: str) -> dict[str, Figure]:
        """Mean, median and 99th percentile by their key in ``--json``; nothing for an empty sample."""
        if not self.count:
            return {}
        return {
            f"mean_{name}_s": self.mean_s,
            f"median_{name}_s": self.quantile_s(0.5),
            f"p99_{name}_s": self.quantile_s(0.99),
        }

    def _values(self) -> npt.NDArray[np.float64]:
        return np.asarray(self.values_s, np.float64)

    def _counts(self) -> npt.NDArray[np.int64]:
        if self.counts is None:
            return np.ones(len(self._values()), np.int64)
        return np.asarray(self.counts, np.int64)

    def _checked_count(self, counts: npt.NDArray[np.int64]) -> int:
        total = int(counts.sum())
        if not total:
            raise ValueError("no duration was measured; ask for count first")
        return total


@dataclass(frozen=True, slots=True)
class ServingResult:
    """What a server did for the requests that it was sent.

    A stream that keeps the server full has no arrivals, so no TTFT or E2E, and counts the tokens of its steady part.

    Attributes:
        requests: sent.
        generated_tokens: over all requests.
        time_s: that the tokens took: from the first arrival to the last token, or of the steady part [s].
        completed: requests that got their last token; None where single requests are not followed.
        prompt_tokens: of the completed requests; None like `completed`.
        ttft_s: from the arrival of each request to its first token.
        tpot_s: mean time between the tokens of each request, the first one excluded.
        itl_s: between every two successive tokens of a request.
        e2e_s: from the arrival of each request to its last token.
        tokens: ids of each request in order of arrival; empty without values.
    """

    requests: int
    generated_tokens: int
    time_s: float
    completed: int | None = None
    prompt_tokens: int | None = None
    ttft_s: Latencies = field(default=Latencies(), compare=False)
    tpot_s: Latencies = field(default=Latencies(), compare=False)
    itl_s: Latencies = field(default=Latencies(), compare=False)
    e2e_s: Latencies = field(default=Latencies(), compare=False)
    tokens: Sequence[Sequence[int]] = ()

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
        known = {"completed": self.completed, "prompt_tokens": self.prompt_tokens}
        return {
            "requests": self.requests,
            **{name: value for name, value in known.items() if value is not None},
            "generated_tokens": self.generated_tokens,
            "serving_s": self.time_s,
            **self.ttft_s.flat("ttft"),
            **self.tpot_s.flat("tpot"),
            **self.itl_s.flat("itl"),
            **self.e2e_s.flat("e2e"),
        }


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


TokenResult = GenerationResult | TrainingResult | ServingResult
"""What has a throughput in tokens."""
ProgramResult = TokenResult | CollectiveResult
