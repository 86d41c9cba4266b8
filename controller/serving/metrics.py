"""What a run of requests came to, in the words and keys of vLLM's serving benchmark.

TTFT: arrival to first token. TPOT: (last token - first token) / (tokens - 1), requests of one token left out. ITL: time
between two tokens, over all tokens of all requests. E2E: arrival to last token. Goodput counts requests that meet every
bound of their objective.

Source: vllm-project/vllm, benchmarks/benchmark_serving.py (labels and JSON keys; percentiles as numpy interpolates).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from controller.serving.client_request import Slo
from controller.serving.state import RequestState
from controller.serving.token_times import Instants, token_gaps
from controller.serving.weighted_gaps import weighted_gaps, weighted_percentile

PERCENTILES = (90, 99)
MOST_GAPS = 20_000_000
"""Tokens up to which every time between two is kept."""


@dataclass(frozen=True, slots=True)
class LatencySummary:
    """Mean, median, standard deviation and percentiles [s]; all 0 where there is no value."""

    mean_s: float
    median_s: float
    std_s: float
    percentiles_s: Mapping[int, float]
    count: int

    @classmethod
    def of_weighted(cls, values: Instants, often: Instants) -> LatencySummary:
        """The summary of `values`, each as often as `often` says [s]."""
        if not len(values):
            return cls.of(values)
        total = often.sum()
        mean = float((values * often).sum() / total)
        spread = float(np.sqrt(((values - mean) ** 2 * often).sum() / total))
        median, *found = weighted_percentile(values, often, (50, *PERCENTILES))
        return cls(mean, median, spread, dict(zip(PERCENTILES, found, strict=True)), int(total))

    @classmethod
    def of(cls, values: Instants) -> LatencySummary:
        """The summary of `values` [s]."""
        if not len(values):
            return cls(0.0, 0.0, 0.0, dict.fromkeys(PERCENTILES, 0.0), 0)
        found = np.percentile(values, PERCENTILES)
        return cls(
            float(values.mean()), float(np.median(values)), float(values.std()),
            dict(zip(PERCENTILES, map(float, found), strict=True)), len(values),
        )  # fmt: skip


@dataclass(frozen=True)
class ServingMetrics:
    """Latencies and rates of a run.

    Attributes:
        completed, failed: requests.
        duration_s: first arrival's clock start to the last end [s].
        input_tokens, output_tokens: of completed requests.
        max_concurrency: most requests in the system at once.
        ttft, tpot, itl, e2el: latencies.
        met: of each request whether it met its objective; empty without one.
        attained_ratio: share that did; None without an objective.
        by_bound: share that met each bound of the objective.
        ttfts_s, tpots_s, e2els_s: by request in the order of arrival; nan for those that failed (n).
    """

    completed: int
    failed: int
    duration_s: float
    input_tokens: int
    output_tokens: int
    max_concurrency: int
    ttft: LatencySummary
    tpot: LatencySummary
    itl: LatencySummary
    e2el: LatencySummary
    attained_ratio: float | None = None
    by_bound: Mapping[str, float] = field(default_factory=dict)
    ttfts_s: Instants = field(default_factory=lambda: np.empty(0), repr=False)
    tpots_s: Instants = field(default_factory=lambda: np.empty(0), repr=False)
    e2els_s: Instants = field(default_factory=lambda: np.empty(0), repr=False)
    met_count: int = 0

    @property
    def goodput_per_s(self) -> float | None:
        """Requests that met their objective, over time [1/s]."""
        if self.attained_ratio is None or not self.duration_s:
            return None
        return self.met_count / self.duration_s

    def to_json(self) -> dict[str, Any]:
        """The keys of vLLM's benchmark."""
        time_s = self.duration_s or float("inf")
        found: dict[str, Any] = {
            "completed": self.completed,
            "failed": self.failed,
            "duration": self.duration_s,
            "total_input_tokens": self.input_tokens,
            "total_output_tokens": self.output_tokens,
            "request_throughput": self.completed / time_s,
            "output_throughput": self.output_tokens / time_s,
            "total_token_throughput": (self.input_tokens + self.output_tokens) / time_s,
            "max_concurrency": self.max_concurrency,
        }
        if self.attained_ratio is not None:
            found["request_goodput"] = self.goodput_per_s
            found["slo_attainment"] = self.attained_ratio
            found["slo_attainment_by_bound"] = dict(self.by_bound)
        for name, summary in (("ttft", self.ttft), ("tpot", self.tpot), ("itl", self.itl), ("e2el", self.e2el)):
            found[f"mean_{name}_ms"] = summary.mean_s * 1e3
            found[f"median_{name}_ms"] = summary.median_s * 1e3
            found[f"std_{name}_ms"] = summary.std_s * 1e3
            for share, value in summary.percentiles_s.items():
                found[f"p{share}_{name}_ms"] = value * 1e3
        return found


def measure_requests(
    states: Sequence[RequestState], step_end_at: Sequence[Instants], slos: Mapping[str, Slo] | None = None,
    *, gaps: bool = True,
) -> ServingMetrics:  # fmt: skip
    """The metrics of requests that have all ended.

    Args:
        states: in the order of arrival.
        step_end_at: ends of the decode steps of every instance [s].
        slos: objective by class, the class "" for all others; None for none.
        gaps: whether times between tokens are wanted, which take as long as all tokens are.
    """
    count = len(states)
    arrival, first, last = (np.empty(count) for _ in range(3))
    outputs, prompts = np.empty(count), 0
    ok = np.empty(count, bool)
    for index, state in enumerate(states):
        request = state.request
        arrival[index], first[index], last[index] = request.arrival_at, state.first_at, state.end_at
        outputs[index] = request.output_tokens
        ok[index] = state.outcome == "ok"
        prompts += request.prompt_tokens if ok[index] else 0
    ttft = np.where(ok, first - arrival, np.nan)
    e2el = np.where(ok, last - arrival, np.nan)
    many = ok & (outputs > 1)
    tpot = np.where(many, (last - first) / np.maximum(outputs - 1, 1), np.nan)
    chosen = [state for state, fine in zip(states, many.tolist(), strict=True) if fine] if gaps else []
    if outputs[ok].sum() > MOST_GAPS:
        itl = LatencySummary.of_weighted(*weighted_gaps(chosen, step_end_at))
    else:
        every = [token_gaps(state, step_end_at) for state in chosen]
        itl = LatencySummary.of(np.concatenate(every) if every else np.empty(0))
    attained, by_bound, met_count = _attainment(states, ttft, tpot, e2el, slos, step_end_at, many)
    ends = np.where(np.isfinite(last), last, 0.0)
    return ServingMetrics(
        int(ok.sum()), int((~ok).sum()), float(ends.max()) if count else 0.0, prompts, int(outputs[ok].sum()),
        _most_at_once(arrival, ends), LatencySummary.of(ttft[ok]), LatencySummary.of(tpot[many]),
        itl, LatencySummary.of(e2el[ok]), attained, by_bound, ttft, tpot, e2el, met_count,
    )  # fmt: skip


def _attainment(
    states: Sequence[RequestState], ttft: Instants, tpot: Instants, e2el: Instants, slos: Mapping[str, Slo] | None,
    step_end_at: Sequence[Instants], many: np.ndarray[Any, np.dtype[np.bool_]],
) -> tuple[float | None, dict[str, float], int]:  # fmt: skip
    if not slos or not any(slos.values()):
        return None, {}, 0
    none = Slo()
    bounds = [slos.get(state.request.kind, slos.get("", none)) for state in states]
    met = np.array([state.outcome == "ok" for state in states])
    by_bound: dict[str, float] = {}
    for name, values in (("ttft", ttft), ("tpot", tpot), ("e2e", e2el)):
        limit = np.array([np.inf if (bound := getattr(slo, f"{name}_s")) is None else bound for slo in bounds])
        if np.isfinite(limit).any():
            fine = ~(values > limit) & ((name == "tpot") | np.isfinite(values))
            by_bound[name] = float(fine.mean())
            met &= fine
    if any(slo.itl_s is not None for slo in bounds):
        fine = np.array([
            slo.itl_s is None or not has or float(token_gaps(state, step_end_at).max()) <= slo.itl_s
            for state, slo, has in zip(states, bounds, many.tolist(), strict=True)
        ])  # fmt: skip
        by_bound["itl"] = float(fine.mean())
        met &= fine
    return float(met.mean()), by_bound, int(met.sum())


def _most_at_once(arrival: Instants, ends: Instants) -> int:
    """Most requests between arrival and end at once."""
    if not len(arrival):
        return 0
    when = np.concatenate([arrival, ends])
    change = np.concatenate([np.ones(len(arrival), np.int64), -np.ones(len(ends), np.int64)])
    # Who ends at an instant has gone before who comes then.
    order = np.lexsort((change, when))
    return int(np.cumsum(change[order]).max())
