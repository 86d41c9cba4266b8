"""Melange: the cheapest mix of GPU types for a mix of request sizes, as an integer program.

Paper: Griggs et al., 'Melange: Cost Efficient Large Language Model Serving by Exploiting GPU Heterogeneity', arXiv
    2404.14527, section 5, and its solver.
Follows: requests in buckets of (input, output) size; each bucket is cut into `slices` equal parts; each part goes to
    one GPU type; the load of a part on a type is its rate over the highest rate that a GPU of the type sustains at that
    size within the objective; loads of a type add up to at most the number of its GPUs; the cost of all GPUs is least.
Differs: nothing. Solved by HiGHS through scipy, an optional extra.
Checked by: tests/unit/controller/serving/clusters/test_melange.py (against every mix of small fleets).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from controller.errors import BadWorkload, MissingExtra

SLICES = 8
"""Parts of a bucket, as in the paper."""


@dataclass(frozen=True, slots=True)
class GpuMix:
    """What the program chose.

    Attributes:
        counts: GPUs of every type.
        usd_per_hour: of all.
        shares: of every bucket and type, the share of the bucket's requests that go there.
    """

    counts: Mapping[str, int]
    usd_per_hour: float
    shares: Sequence[Mapping[str, float]]


def place(
    rates_per_s: Sequence[float], most_per_s: Mapping[str, Sequence[float]], usd_per_hour: Mapping[str, float],
    slices: int = SLICES,
) -> GpuMix:  # fmt: skip
    """The cheapest mix.

    Args:
        rates_per_s: of every bucket [1/s].
        most_per_s: by type, the highest rate of one GPU with requests of every bucket; 0 where it cannot [1/s].
        usd_per_hour: rent of one GPU by type.
        slices: parts of a bucket.

    Raises:
        MissingExtra: scipy is not installed.
        BadWorkload: a bucket that no type can serve.
    """
    try:
        from scipy.optimize import Bounds, LinearConstraint, milp
    except ImportError as error:
        raise MissingExtra("a mix of GPU types is found by scipy: pip install 'windtunnel[serving]'") from error
    types, buckets = list(usd_per_hour), len(rates_per_s)
    for index, rate in enumerate(rates_per_s):
        if rate > 0 and not any(most_per_s[name][index] > 0 for name in types):
            raise BadWorkload(f"no GPU type serves requests of bucket {index} within the objective; relax it")
    parts, width = buckets * slices, len(types)
    columns = parts * width + width
    load = np.zeros((width, columns))
    upper = np.ones(columns)
    upper[parts * width :] = np.inf
    for part in range(parts):
        bucket = part // slices
        for at, name in enumerate(types):
            most = most_per_s[name][bucket]
            if most > 0:
                load[at, part * width + at] = rates_per_s[bucket] / slices / most
            else:
                upper[part * width + at] = 0
    load[np.arange(width), parts * width + np.arange(width)] = -1
    once = np.zeros((parts, columns))
    for part in range(parts):
        once[part, part * width : (part + 1) * width] = 1
    cost = np.zeros(columns)
    cost[parts * width :] = [usd_per_hour[name] for name in types]
    found = milp(
        cost, constraints=[LinearConstraint(once, 1, 1), LinearConstraint(load, -np.inf, 0)],
        integrality=np.ones(columns), bounds=Bounds(np.zeros(columns), upper),
    )  # fmt: skip
    if found.x is None:
        raise BadWorkload(f"no mix of GPU types serves these rates: {found.message}")
    chosen = np.rint(found.x)
    counts = {name: int(chosen[parts * width + at]) for at, name in enumerate(types)}
    shares = [
        {
            name: float(chosen[[part * width + at for part in range(b * slices, (b + 1) * slices)]].mean())
            for at, name in enumerate(types)
        }
        for b in range(buckets)
    ]
    return GpuMix(counts, float(found.fun), shares)
