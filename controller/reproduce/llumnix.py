"""Llumnix against least-loaded and round-robin dispatch: sixteen LLaMA-7B on A10, on their measured decode steps.

Sources: Llumnix (arXiv 2406.03243): P99 of the time to the first token of figure 11, table 1 for the lengths, figures 4
and 10 for steps, recomputation and the lines of copies. An instance holds 13,616 tokens. Copies take what the paper's
own blocking copy takes, 0.2 ms a token, each for itself.

What is left out: the stall of a step while a migration runs beside it (1 % or less), and that several copies share a
network interface. The lengths between the printed quantiles are assumed, and
with them how far memory fills: waves of preemption begin at higher rates here.
"""

from __future__ import annotations

from functools import cache, partial

import numpy as np

from controller.reproduce.rows import Paper, Value
from controller.reproduce.served import ServedRun, order_text, row_of, run_servers
from controller.serving.client_request import Slo
from controller.serving.fleet import InstanceSpec
from controller.serving.requests.arrivals import ArrivalProcess
from controller.serving.requests.draw import draw_requests
from controller.serving.requests.length_model import PUBLISHED
from controller.serving.requests.open import cut
from controller.serving.schedulers import vllm
from controller.serving.state import ServerLimits
from controller.serving.surfaces.llumnix import COPY_S_PER_TOKEN, KV_TOKENS, LlumnixSurface

REQUESTS = 10_000
INSTANCES = 16
POLICIES = {"llumnix": "llumnix", "infaas": "least_loaded", "round_robin": "round_robin"}
TRACES = {"sharegpt": "sharegpt_gpt4", "m-m": "llumnix_m_m", "l-l": "llumnix_l_l"}
P99 = {
    ("sharegpt", 7.0): {"llumnix": 1.59, "infaas": 1.64, "round_robin": 55.6},
    ("sharegpt", 7.5): {"llumnix": 2.55, "infaas": 14.1, "round_robin": 79.9},
    ("sharegpt", 8.0): {"llumnix": 8.76, "infaas": 27.8, "round_robin": 100.0},
    ("m-m", 7.4): {"llumnix": 2.67, "infaas": 5.75},
    ("m-m", 7.8): {"llumnix": 18.1, "infaas": 240.0},
    ("l-l", 2.6): {"llumnix": 2.49, "infaas": 2.81},
    ("l-l", 3.0): {"llumnix": 2.78, "infaas": 41.2},
}
"""Trace and rate [1/s] to P99 of arrival to first token [s]."""
FAR_BELOW_THE_KNEE = (
    "waves of preemption, which make the published P99, begin at higher rates here: how far memory fills hangs on "
    "lengths between the printed quantiles, which are assumed"
)
FAR_IN_DOWNTIME = (
    "the last copy of a migration is that of one step's tokens at 0.2 ms each; the published 13 to 26 ms hold the "
    "handshake and the two engines' steps too, of which no times are given"
)
DOWNTIME_MS = {256: 13.0, 1024: 15.0, 4096: 22.0, 8192: 26.0}


@cache
def served(trace: str, rate_per_s: float, system: str) -> ServedRun:
    """Sixteen instances at a rate."""
    spec = InstanceSpec(LlumnixSurface(), KV_TOKENS // 16, ServerLimits(256, 8192), vllm.decide)
    lengths = PUBLISHED[TRACES[trace]]
    stream = cut(draw_requests(ArrivalProcess("poisson", rate_per_s), lengths, REQUESTS, 0), KV_TOKENS - 16)
    return run_servers([spec] * INSTANCES, stream, Slo(), POLICIES[system], (), COPY_S_PER_TOKEN)


def _p99(trace: str, rate_per_s: float, system: str) -> Value:
    return served(trace, rate_per_s, system).metrics.ttft.percentiles_s[99]


def _order(trace: str, rate_per_s: float) -> Value:
    found = {name: float(_p99(trace, rate_per_s, name)) for name in P99[trace, rate_per_s]}
    return order_text(found, descending=False).replace(">", "<")


def _downtime_ms() -> Value:
    """Of a migration at the highest rate of the M-M trace, in the middle."""
    cluster = served("m-m", 7.8, "llumnix").cluster
    assert cluster is not None
    return float(np.median(cluster.moves.downtimes_s)) * 1e3 if cluster.moves.downtimes_s else "no migration"


def paper() -> Paper:
    """The rows of the paper."""
    rows = []
    for (trace, rate), systems in P99.items():
        for system, value in systems.items():
            row: dict[str, str | int | float] = {"trace": trace, "rate": rate, "system": system}
            rows.append(
                row_of(
                    "figure 11",
                    row,
                    "P99 TTFT",
                    value,
                    "s",
                    "PF",
                    partial(_p99, trace, rate, system),
                    0.15,
                    why=FAR_BELOW_THE_KNEE,
                )
            )
        order = order_text(systems, descending=False).replace(">", "<")
        rows.append(row_of("order", {"trace": trace, "rate": rate}, "P99 TTFT", order, "", "PF",
                           partial(_order, trace, rate), 0.0))  # fmt: skip
    rows.append(
        row_of(
            "migration",
            {"length": "all"},
            "median downtime",
            DOWNTIME_MS[1024],
            "ms",
            "PF",
            _downtime_ms,
            why=FAR_IN_DOWNTIME,
        )
    )
    return Paper(
        "llumnix",
        "Llumnix: sixteen LLaMA-7B on A10, on their measured steps (arXiv 2406.03243); migration from a freeness below "
        "3 to one above 30, looked for every 0.2 s (assumed)",
        {}, tuple(rows),
    )  # fmt: skip
