"""Failures drawn from rates: when, which host, which cause."""

from __future__ import annotations

from dataclasses import dataclass
from math import exp, log, sqrt

import numpy as np
import numpy.typing as npt

from controller.faults.rates.failure_rates import FailureCause, FailureRates, weibull_scale

FloatArray = npt.NDArray[np.float64]
HOUR_S = 3600.0
RELAPSE_S = 1800.0
"""Mean time until a host fails again whose repair did not help [s]; assumed."""
MOST_FAILURES = 1_000_000


@dataclass(frozen=True, slots=True)
class DrawnFailure:
    """One failure.

    Attributes:
        at_s: when [s].
        host: index of the host.
        cause: why.
        severity: drawn from that of the cause.
        in_burst: it follows another of the same cause at the same instant.
        relapse: it follows a repair that did not help.
    """

    at_s: float
    host: int
    cause: FailureCause
    severity: float
    in_burst: bool = False
    relapse: bool = False


def draw(
    rates: FailureRates, hosts: int, for_s: float, random: np.random.Generator, causes: tuple[FailureCause, ...] = ()
) -> list[DrawnFailure]:
    """Failures of `hosts` over a time, in order.

    The mean number of failures is that of the rates: bursts and relapses take the place of failures of their own.

    Args:
        rates: how often what fails.
        hosts: how many, each with the GPUs of a host of the rates.
        for_s: how long [s].
        random: a seeded generator.
        causes: that count; all unless said.
    """
    chosen = causes or rates.causes
    weights = np.array([cause.per_hour * (rates.gpus_per_host if cause.per == "gpu" else 1) for cause in chosen])
    further = 1.0 + rates.burst_share * rates.burst_size
    further /= 1.0 - rates.useless_repairs
    mean_gap_s = HOUR_S / (float(weights.sum()) * hosts) * further
    instants = _instants(random, mean_gap_s, rates.weibull_shape, for_s)
    of_cause = random.choice(len(chosen), len(instants), p=weights / weights.sum())
    lemons = round(rates.lemon_share * hosts)
    host_weights = np.ones(hosts)
    host_weights[:lemons] = rates.lemon_factor
    of_host = random.choice(hosts, len(instants), p=host_weights / host_weights.sum())
    found: list[DrawnFailure] = []
    for at_s, number, host in zip(instants.tolist(), of_cause.tolist(), of_host.tolist(), strict=True):
        found.append(DrawnFailure(at_s, host, chosen[number], _severity(random, chosen[number])))
        if rates.burst_share and random.random() < rates.burst_share:
            for _ in range(_geometric(random, rates.burst_size)):
                other = int(random.integers(hosts))
                found.append(DrawnFailure(at_s, other, chosen[number], _severity(random, chosen[number]), True))
        again_s = at_s
        while rates.useless_repairs and random.random() < rates.useless_repairs:
            again_s += float(random.exponential(RELAPSE_S))
            found.append(DrawnFailure(again_s, host, chosen[number], _severity(random, chosen[number]), relapse=True))
    kept = [failure for failure in found if failure.at_s < for_s]
    return sorted(kept, key=lambda failure: failure.at_s)


def repair_s(rates: FailureRates, random: np.random.Generator) -> float:
    """How long a repair takes, log-normal with the median and mean of the rates [s]."""
    if rates.repair_mean_s <= 0.0:
        return 0.0
    spread = sqrt(max(0.0, 2.0 * log(rates.repair_mean_s / rates.repair_median_s)))
    return rates.repair_median_s * exp(spread * float(random.standard_normal()))


def _instants(random: np.random.Generator, mean_s: float, shape: float, for_s: float) -> FloatArray:
    found: list[FloatArray] = []
    end_s, count = 0.0, max(16, int(1.2 * for_s / mean_s) + 16)
    while end_s < for_s and sum(map(len, found)) < MOST_FAILURES:
        gaps = mean_s * random.standard_exponential(count)
        if shape != 1.0:
            gaps = weibull_scale(mean_s, shape) * random.weibull(shape, count)
        found.append(end_s + np.cumsum(gaps))
        end_s = float(found[-1][-1])
    every = np.concatenate(found)
    return np.asarray(every[every < for_s])


def _geometric(random: np.random.Generator, mean: float) -> int:
    return int(random.geometric(1.0 / mean)) if mean > 0.0 else 0


def _severity(random: np.random.Generator, cause: FailureCause) -> float:
    low, high = cause.severity
    return float(random.uniform(low, high)) if high > low else low
