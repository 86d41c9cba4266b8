"""What a set of published rates says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import gamma

REPAIR_S = 7200.0
"""An automatic repair [s]. Source: AIReSim's 120 min, assumed of every cluster whose source says nothing."""


@dataclass(frozen=True, slots=True)
class FailureCause:
    """One cause of failure, and how often it strikes.

    Attributes:
        name: for people.
        per: what the rate counts: ``gpu`` or ``host``.
        per_hour: failures of one of them [1/h].
        kind: of the faults that it makes (`controller.faults.kinds`).
        severity: lowest and highest, drawn uniformly.
        strikes: component of a host that breaks: ``device``, ``host`` or ``link``.
        mean_s: how long it lasts on average when nobody acts [s]; 0 for good.
        shows: how telemetry has it: ``kill``, ``hang``, ``dead_link``, ``slow``, ``bandwidth`` or ``corrupt``; as a
            process that ends unless said.
    """

    name: str
    per: str
    per_hour: float
    kind: str = "dead"
    severity: tuple[float, float] = (1.0, 1.0)
    strikes: str = "device"
    mean_s: float = 0.0
    shows: str = "kill"


@dataclass(frozen=True, slots=True)
class FailureRates:
    """A set of rates.

    Attributes:
        name: what ``--rates`` calls it.
        causes: in the order of the source.
        gpus_per_host: of the cluster that was measured.
        source: of the rates.
        weibull_shape: of the gaps between failures; 1 is exponential, below 1 failures come in clusters.
        burst_share: share of failures that begin a burst of the same cause on other hosts.
        burst_size: mean number of further failures of a burst.
        lemon_share, lemon_factor: share of hosts that fail so many times as often as the others.
        useless_repairs: share of repairs after which the host soon fails again.
        repair_mean_s, repair_median_s: how long a host is away [s]; log-normal. `REPAIR_S` unless the source says.
        detect_s, diagnose_s, reinit_s: what an interruption costs, where the source says so or we assume it [s].
        assumed: what of all this the source does not say, in words.
    """

    name: str
    causes: tuple[FailureCause, ...]
    gpus_per_host: int
    source: str
    weibull_shape: float = 1.0
    burst_share: float = 0.0
    burst_size: float = 0.0
    lemon_share: float = 0.0
    lemon_factor: float = 1.0
    useless_repairs: float = 0.0
    repair_mean_s: float = REPAIR_S
    repair_median_s: float = REPAIR_S
    detect_s: float = 0.0
    diagnose_s: float = 0.0
    reinit_s: float = 0.0
    assumed: str = ""

    def fail_stop(self) -> tuple[FailureCause, ...]:
        """Causes that stop a job."""
        return tuple(cause for cause in self.causes if cause.kind in ("dead", "frozen"))

    def fail_slow(self) -> tuple[FailureCause, ...]:
        """Causes that slow it down."""
        return tuple(cause for cause in self.causes if cause.kind not in ("dead", "frozen"))

    def per_gpu_hour(self, causes: tuple[FailureCause, ...] | None = None) -> float:
        """Failures of `causes` (those that stop a job unless said) for each GPU and hour [1/h]."""
        chosen = self.fail_stop() if causes is None else causes
        return sum(cause.per_hour / (1 if cause.per == "gpu" else self.gpus_per_host) for cause in chosen)


def of_counts(
    counts: Mapping[str, int], per: str, exposure_h: float, strikes: str, shows: Mapping[str, str] | None = None
) -> tuple[FailureCause, ...]:
    """Causes from counts over an exposure.

    Args:
        counts: failures by cause.
        per: ``gpu`` or ``host``.
        exposure_h: hours of all of them together [h].
        strikes: what breaks; a link where the cause shows as one that is dead.
        shows: see `FailureCause`, by cause, of those that do not end a process.
    """
    shows = shows or {}
    return tuple(
        FailureCause(
            name, per, count / exposure_h, strikes="link" if shows.get(name) == "dead_link" else strikes,
            shows=shows.get(name, "kill"),
        )
        for name, count in counts.items()
    )  # fmt: skip


def weibull_scale(mean: float, shape: float) -> float:
    """Scale of the Weibull distribution of a shape that has that mean."""
    return mean / gamma(1.0 + 1.0 / shape)
