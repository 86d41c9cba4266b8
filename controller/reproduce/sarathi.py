"""Sarathi-Serve against vLLM and Orca on the iteration times of its own engine: Mistral-7B and Yi-34B on A100.

Sources: Sarathi-Serve (arXiv 2403.02310): capacities of figures 10 to 12, table 4, and the raw times of its artifact.
Times are those of `controller.serving.surfaces.sarathi`. Capacity is the highest rate with a P99 time between tokens
within the objective and a median scheduling delay of 2 s, as in section 5.1. Lengths are log-normal with the printed
median prompt and the printed longest request; answers and spreads are declared in
`controller.serving.requests.length_model`.

What is left out: what the engine pays a request beside its tokens; its measured 68 ms of four decodes (table 2 of the
artifact) and 49 ms (figure 2) contradict each other, and the surface has the second. Llama-2-70B and Falcon-180B, of
whose engine no times are printed.
"""

from __future__ import annotations

from functools import cache, partial

import numpy as np

from controller.reproduce.rows import Paper, Value
from controller.reproduce.served import ServedRun, bisect_rate, order_text, row_of, run_servers
from controller.serving.client_request import Slo
from controller.serving.fleet import InstanceSpec
from controller.serving.iteration_times import IterationLoad
from controller.serving.requests.arrivals import ArrivalProcess
from controller.serving.requests.draw import draw_requests
from controller.serving.requests.length_model import PUBLISHED
from controller.serving.schedulers import orca, sarathi, vllm
from controller.serving.state import ServerLimits
from controller.serving.surfaces.sarathi import mistral_7b, yi_34b

REQUESTS = 400
DELAY_S = 2.0
SURFACES = {"mistral-7b": mistral_7b, "yi-34b": yi_34b}
BLOCKS = {"mistral-7b": 24_000, "yi-34b": 22_000}
"""KV blocks of 16 tokens: 80 GB at 0.9 less weights of 14.5 GB, 128 KiB a token; 160 GB, 69 GB and 240 KiB."""
SCHEDULERS = {
    "orca": (orca.decide_paged, ServerLimits(16, 16384)),
    "vllm": (vllm.decide, ServerLimits(128, 8192)),
    "sarathi-512": (sarathi.decide, ServerLimits(128, 512)),
    "sarathi-1024": (sarathi.decide, ServerLimits(128, 1024)),
    "sarathi-2048": (sarathi.decide, ServerLimits(128, 2048)),
    "hybrid": (orca.decide_paged, ServerLimits(128, 16384)),
}
CAPACITY = {
    ("mistral-7b", "strict", 0.1, "sarathi-512"): (0.73, 0.77, 2.03),
    ("mistral-7b", "relaxed", 0.5, "sarathi-2048"): (1.06, 1.56, 2.28),
    ("yi-34b", "strict", 0.2, "sarathi-512"): (0.27, 0.29, 1.08),
    ("yi-34b", "relaxed", 1.0, "sarathi-2048"): (0.50, 0.71, 1.22),
}
"""Model, objective, P99 time between tokens [s] and Sarathi's budget to capacities of Orca, vLLM, Sarathi [1/s]."""
BY_BUDGET = {0.1: (2.03, 0.50), 0.2: (2.00, 1.64), 0.3: (2.00, 2.30), 0.5: (2.00, 2.30)}
"""P99 time between tokens [s] to capacities of Sarathi with 512 and 2048 tokens, Mistral-7B [1/s]."""
TABLE_4 = {"hybrid": (0.53, 0.68), "sarathi-1024": (0.76, 0.14)}
"""Median TTFT and P99 time between tokens, Yi-34B, sharegpt4 at 1 request a second [s]."""


@cache
def served(model: str, scheduler: str, rate_per_s: float, count: int = REQUESTS) -> ServedRun:
    """A run on the engine's times."""
    decide, limits = SCHEDULERS[scheduler]
    spec = InstanceSpec(SURFACES[model](), BLOCKS[model], limits, decide)
    stream = draw_requests(ArrivalProcess("poisson", rate_per_s), PUBLISHED["openchat_sharegpt4"], count, 0)
    return run_servers([spec], stream, Slo(), gaps=True)


@cache
def capacity(model: str, scheduler: str, bound_s: float) -> float:
    """Highest rate within the objective [1/s]."""

    def works(rate: float) -> bool:
        run = served(model, scheduler, rate)
        delays = [state.admitted_at - state.request.arrival_at for state in run.states]
        return run.metrics.itl.percentiles_s[99] <= bound_s and float(np.median(delays)) <= DELAY_S

    return bisect_rate(works, 0.05, 12.8)


def _ratio(model: str, bound_s: float, ours: str, other: str) -> Value:
    base = capacity(model, other, bound_s)
    return capacity(model, ours, bound_s) / base if base else f"{other} never meets it"


def _order(model: str, bound_s: float, ours: str) -> Value:
    found = {name: capacity(model, name, bound_s) for name in ("orca", "vllm")}
    return order_text({**found, "sarathi": capacity(model, ours, bound_s)})


def _better_budget(bound_s: float) -> Value:
    return order_text({name: capacity("mistral-7b", name, bound_s) for name in ("sarathi-512", "sarathi-2048")})


def _table_4(scheduler: str, which: int) -> Value:
    metrics = served("yi-34b", scheduler, 1.0, 128).metrics
    return metrics.ttft.median_s if not which else metrics.itl.percentiles_s[99]


def _table_4_order(which: int) -> Value:
    found = {name: float(_table_4(name, which)) for name in TABLE_4}
    return order_text(found, descending=False).replace(">", "<")


def _piggyback() -> Value:
    """A decode token of four alone over a token of a mixed iteration of 1024."""
    surface = yi_34b()
    alone = surface.iteration_s(IterationLoad(4, 4096)) / 4
    return alone / (surface.iteration_s(IterationLoad(3, 3072, ((1021, 0),))) / 1024)


def paper() -> Paper:
    """The rows of the paper."""
    rows = []
    for (model, name, bound_s, ours), (by_orca, by_vllm, by_sarathi) in CAPACITY.items():
        row: dict[str, str | int | float] = {"model": model, "slo": name}
        for system, value in (("orca", by_orca), ("vllm", by_vllm), (ours, by_sarathi)):
            here = {**row, "scheduler": system}
            rows.append(row_of("capacity", here, "rate", value, "1/s", "PF", partial(capacity, model, system, bound_s)))
        for other, value in (("orca", by_orca), ("vllm", by_vllm)):
            ratio = partial(_ratio, model, bound_s, ours, other)
            rows.append(row_of("ratio", {**row, "over": other}, "capacity", by_sarathi / value, "", "PF", ratio, 0.25))
        order = partial(_order, model, bound_s, ours)
        rows.append(row_of("order", row, "capacity", "sarathi > vllm > orca", "", "PF", order, 0.0))
    for bound_s, (small, large) in BY_BUDGET.items():
        better = order_text({"sarathi-512": small, "sarathi-2048": large})
        ours_too = partial(_better_budget, bound_s)
        rows.append(row_of("budget", {"slo": bound_s}, "capacity", better, "", "PF", ours_too, 0.0))
    for name, pair in TABLE_4.items():
        for which, quantity in enumerate(("median TTFT", "P99 TBT")):
            rows.append(
                row_of("table 4", {"scheduler": name}, quantity, pair[which], "s", "P", partial(_table_4, name, which))
            )
    rows.append(row_of("table 4", {"by": "median TTFT"}, "order", "hybrid < sarathi-1024", "", "P",
                       partial(_table_4_order, 0), 0.0))  # fmt: skip
    rows.append(row_of("table 4", {"by": "P99 TBT"}, "order", "sarathi-1024 < hybrid", "", "P",
                       partial(_table_4_order, 1), 0.0))  # fmt: skip
    rows.append(row_of("piggyback", {"model": "yi-34b"}, "cost alone over cost beside a prompt", 80.0, "", "R",
                       _piggyback, 0.1))  # fmt: skip
    return Paper(
        "sarathi",
        "Sarathi-Serve on the times of its own engine (arXiv 2403.02310); prompts of openchat_sharegpt4 spread by 1.0 "
        "around their printed median (assumed)",
        {}, tuple(rows),
    )  # fmt: skip
