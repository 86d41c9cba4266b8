"""The formulas of checkpointing under exponential failures.

Sources: Young, A first order approximation to the optimum checkpoint interval, 1974; Daly, A higher order estimate of
the optimum checkpoint interval, 2006. The renewal formula is exact for failures that strike a job that runs: a segment
of dt + w is repeated until it passes without a failure, and every failure costs u0 during which none is counted.
"""

from __future__ import annotations

from math import exp, expm1, sqrt


def young_s(write_s: float, mttf_s: float) -> float:
    """Young's interval [s]."""
    return sqrt(2.0 * write_s * mttf_s)


def daly_s(write_s: float, mttf_s: float) -> float:
    """Daly's interval [s]: of a higher order, for writes shorter than twice the time between failures."""
    if write_s >= 2.0 * mttf_s:
        return mttf_s
    ratio = write_s / (2.0 * mttf_s)
    return sqrt(2.0 * write_s * mttf_s) * (1.0 + sqrt(ratio) / 3.0 + ratio / 9.0) - write_s


def exact_optimum_s(write_s: float, mttf_s: float) -> float:
    """The interval at which `renewal_ettr` is largest [s]: x = dt / mttf solves (1 - x) e^x = e^(-w / mttf)."""
    low, high = 0.0, 1.0
    wanted = exp(-write_s / mttf_s)
    for _ in range(200):
        middle = (low + high) / 2.0
        if (1.0 - middle) * exp(middle) > wanted:
            low = middle
        else:
            high = middle
    return low * mttf_s


def renewal_ettr(interval_s: float, write_s: float, recovery_s: float, mttf_s: float) -> float:
    """Share of the wall time that is useful: dt / [(mttf + u0) (e^((dt + w) / mttf) - 1)]."""
    return interval_s / ((mttf_s + recovery_s) * expm1((interval_s + write_s) / mttf_s))


def first_order_ettr(interval_s: float, write_s: float, recovery_s: float, mttf_s: float) -> float:
    """The approximation that Meta publishes: (1 - (u0 + dt / 2) / mttf) / (1 + w / dt); for small losses only."""
    return (1.0 - (recovery_s + interval_s / 2.0) / mttf_s) / (1.0 + write_s / interval_s)
