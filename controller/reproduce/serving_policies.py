"""FastGen and FastSwitch: what their papers state that a run here can give.

Sources: DeepSpeed-FastGen (arXiv 2401.08671; the figures of its repository): Llama-2-70B on four A100, prompts of about
2,600 tokens (30 %), answers of 60, clients that wait for their answers; Llumnix, section 5, for the copies that
FastSwitch (arXiv 2411.18424) saves. Times are those of the device models, hosts as declared for vLLM.

What is left out: figures of FastSwitch and BatchLLM that third parties report alone, the profiles behind Melange's
savings, and POLCA's power trace, which is not published: the policies are there and checked by their tests. FastGen was
compared with an early vLLM, which reached half of what its scheduler does here on the device models.
"""

from __future__ import annotations

from functools import cache, partial
from itertools import pairwise

from controller.experiment.serving_run import serve
from controller.experiment.serving_setup import ServingSetup
from controller.experiment.serving_spec import ServeSpec
from controller.models.catalog import load_model
from controller.reproduce.rows import Paper, Value
from controller.reproduce.served import row_of
from controller.serving.kv_pool import BLOCK_TOKENS

LATENCY_S = 9.0
CLIENTS = (4, 8, 12, 16, 24)
REQUESTS = 96
FASTGEN = {"fastgen": 1.36, "vllm": 0.67}
"""Requests a second at a latency of 9 s."""
COPIES = 4096
"""Copies that a paged cache makes for 1K tokens of LLaMA-7B."""


@cache
def _served(scheduler: str, clients: int) -> tuple[float, float]:
    """Throughput and mean latency with so many clients [1/s, s]."""
    spec = ServeSpec(
        "llama-2-70b", "dgx_a100", scheduler, f"closed:{clients}", "lognormal:in=2600/2490,out=60/57", REQUESTS, tp=4,
        max_model_len=4096, exact=0,
    )  # fmt: skip
    metrics = serve(spec, None, ServingSetup(spec)).metrics
    return metrics.completed / metrics.duration_s, metrics.e2el.mean_s


def _rate_at_latency(scheduler: str) -> Value:
    """Throughput on the line between two numbers of clients at the latency of the row [1/s]."""
    points = [_served(scheduler, clients) for clients in CLIENTS]
    for (rate, latency), (more, longer) in pairwise(points):
        if latency <= LATENCY_S <= longer:
            return rate + (more - rate) * (LATENCY_S - latency) / (longer - latency)
    return points[-1][0] if points[-1][1] < LATENCY_S else points[0][0]


def _ratio() -> Value:
    first, second = _rate_at_latency("fastgen"), _rate_at_latency("vllm")
    assert isinstance(first, float) and isinstance(second, float)
    return first / second


def _copies() -> Value:
    return float(1024 // BLOCK_TOKENS * 2 * load_model("llama-7b").layers)


def paper() -> Paper:
    """The rows of the papers."""
    rows = [
        row_of("fastgen", {"scheduler": name, "latency": LATENCY_S}, "throughput", value, "1/s", "R",
               partial(_rate_at_latency, name))
        for name, value in FASTGEN.items()
    ]  # fmt: skip
    rows += [
        row_of("fastgen", {"latency": LATENCY_S}, "fastgen over vllm", FASTGEN["fastgen"] / FASTGEN["vllm"], "", "R",
               _ratio, 0.25),
        row_of("fastswitch", {"model": "llama-7b", "tokens": 1024}, "copies of a swap", float(COPIES), "", "P", _copies,
               0.0),
    ]  # fmt: skip
    return Paper(
        "serving_policies", "FastGen and FastSwitch (arXiv 2401.08671, 2411.18424)", {}, tuple(rows)
    )  # fmt: skip
