"""NanoFlow: one iteration of Llama-2-70B on eight A100, in sequence and as nano-batches side by side.

Source: NanoFlow (arXiv 2408.12757), table 2 for the operations of an iteration of 2,048 tokens and the ablation of its
figures, whose bars are taken to be in the order of its text. The iteration is that of 512 prompt and 1,024 output
tokens: 1,365 decodes of 1,033 cached tokens (462 GB of KV cache) and 683 prompt tokens (916 GFLOP of attention), which
is what table 2 counts. Times are those of the device models.

What is left out: the search over sizes and shares of nano-batches; here are two halves, and kernels share as the engine
does. The host's work, which the paper hides.
"""

from __future__ import annotations

from functools import cache, partial

from controller.models.catalog import load_model
from controller.reproduce.rows import Paper, Value
from controller.reproduce.served import row_of
from controller.serving.device_times.nano_batches import FormTimes, form_times, halves, side_by_side
from controller.serving.device_times.parts import IterationParts
from controller.serving.iteration_times import IterationLoad
from controller.topology.loader import load_topology

LOAD = IterationLoad(1365, 1365 * 1033, ((512, 0), (171, 0)))
GPUS, POOL_TOKENS = 8, 1_500_000
SUM_MS = 225.05
OPERATIONS_MS = {
    "qkv_proj": 16.08, "o_proj": 16.01, "ffn": 104.88, "decode_attention": 35.60, "block_attention": 4.56,
}  # fmt: skip
"""By label of ours; up, gate and down are one."""
TOKENS_PER_S = {"sequential": 1048.0, "nano-batches": 952.0, "side by side": 1277.0}
"""Of 512 prompt and 1,024 output tokens, a GPU [1/s]."""


@cache
def form(name: str) -> FormTimes:
    """The iteration in one of the forms of `TOKENS_PER_S`."""
    topology = load_topology("dgx_a100")
    devices = tuple(device.name for device in topology.of_kind("gpu"))[:GPUS]
    parts = IterationParts(topology, load_model("llama-2-70b"), devices, "fp16", POOL_TOKENS, 4096)
    loads = [LOAD] if name == "sequential" else halves(LOAD)
    return form_times(side_by_side(topology, 2) if name == "side by side" else topology, parts, loads)


def _operation_ms(label: str) -> Value:
    return form("sequential").label_s[label] * 1e3


def _sum_ms() -> Value:
    return form("sequential").time_s * 1e3


def _rate(name: str) -> Value:
    return LOAD.tokens / form(name).time_s / GPUS


def _speedup() -> Value:
    return form("sequential").time_s / form("side by side").time_s


def paper() -> Paper:
    """The rows of the paper."""
    rows = [
        row_of("operations", {"operation": label}, "time", value, "ms", "P", partial(_operation_ms, label))
        for label, value in OPERATIONS_MS.items()
    ]
    rows.append(row_of("operations", {"operation": "all"}, "sum in sequence", SUM_MS, "ms", "P", _sum_ms, 0.08))
    rows += [
        row_of("throughput", {"form": name}, "a GPU", value, "tokens/s", "P", partial(_rate, name), 0.08)
        for name, value in TOKENS_PER_S.items()
    ]
    ratio = TOKENS_PER_S["side by side"] / TOKENS_PER_S["sequential"]
    rows.append(row_of("throughput", {"form": "side by side over sequential"}, "ratio", ratio, "", "P", _speedup, 0.08))
    return Paper("nanoflow", "NanoFlow: Llama-2-70B on eight A100 (arXiv 2408.12757)", {}, tuple(rows))
