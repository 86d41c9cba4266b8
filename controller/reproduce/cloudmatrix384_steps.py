"""CloudMatrix384: decode steps and prompts of DeepSeek-R1, and products in int8, as one die executes them.

Source: arXiv 2506.12708v2, tables 3, 4, 5 and 10, section 5.4. Prompts: 16,384 tokens an NPU, of 4,096 each, over the
32 dies of a prefill instance; perfect balance is even rows, and of the default balance the unevenness is not
published. A step is 160 NPUs: 320 dies, 256 + 32 + 32 experts a layer, one each; of a balanced router the busiest
expert still has more than the mean, and everybody waits for it. TPOT is the time of a step over the tokens that it
gives: 1.7 with a draft token that is accepted in 7 of 10 cases, which the paper assumes. Graphs are launched whole,
so the host's cost of a kernel is set to none. Whether two micro-batches share a die is chosen by executing both. No
constant is set from a row of these tables.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache, partial

from controller.execute.virtual import run_virtual
from controller.models.catalog import load_model
from controller.offload.die_decode import DecodeSetting, decode_plan
from controller.offload.die_layers import INT8, DieLayers
from controller.offload.die_prefill import PrefillSetting, prefill_plan
from controller.offload.scratch import Scratch
from controller.plan.ops import Plan
from controller.program.run import Program, Run
from controller.program.waits import Completion
from controller.reproduce.rows import PublishedRow
from controller.topology.loader import load_topology
from node.hardware.catalog import load_product
from node.hardware.cost import kernel_cost
from node.hardware.operation import TensorType
from node.hardware.operations import operation
from node.hardware.packed import PACKED, rounded_bytes

ACCEPTED = 0.7
"""Share of draft tokens that are accepted: the paper's assumption, an oracle here."""
MODEL = "deepseek-v3"
"""DeepSeek-R1 has its shape."""
GRAPHS = ("npu.issue.launch=0 us",)
WITHIN = 0.10
INT8_GEMM = {
    (4, 7168, 4096, 4096): 79.4, (4, 2048, 7168, 4096): 77.4, (4, 7168, 4096, 8192): 82.7,
    (4, 2048, 7168, 8192): 81.1, (8, 7168, 4096, 4096): 79.6, (8, 2048, 7168, 4096): 77.9,
}  # fmt: skip
"""Table 10: (groups, M, N, K) to compute utilisation [%]."""


@lru_cache(maxsize=32)
def step_s(sequences: int, drafts: int, microbatches: int, mixtures: int | None = None) -> float:
    """Time of a step of `sequences` on each die, or of so many of its layers with experts [s]."""
    setting = DecodeSetting(sequences=sequences, drafts=drafts, microbatches=microbatches)
    return _executed_s(*decode_plan(load_topology("cloudmatrix384", GRAPHS), load_model(MODEL), setting, mixtures))


def _executed_s(plan: Plan, die: DieLayers, scratch: Scratch) -> float:
    """Time of a plan of one die [s]."""
    took: list[float] = []

    def go(run: Run) -> Program:
        die.place(run)
        scratch.place(run)
        ended: Completion = yield run.submit(plan)
        took.append(ended.end_at - ended.submitted_at)

    outcome = run_virtual(load_topology("cloudmatrix384", GRAPHS), [go])
    assert outcome.ok, outcome.ended
    return took[0]


def tpot_ms(sequences: int) -> float:
    """Time per output token with one draft token [ms]."""
    return min(step_s(sequences, 1, parts) for parts in (1, 2)) * 1e3 / (1.0 + ACCEPTED)


def tokens_per_s(sequences: int) -> float:
    """Tokens that an NPU of two dies gives [1/s]."""
    return 2 * sequences / tpot_ms(sequences) * 1e3


@lru_cache(maxsize=8)
def prefill_s(microbatches: int) -> float:
    """Time of a pass over 16,384 prompt tokens on each NPU with perfect balance [s]."""
    setting = PrefillSetting(microbatches=microbatches)
    plan, die, scratch = prefill_plan(load_topology("cloudmatrix384", GRAPHS), load_model(MODEL), setting)
    return _executed_s(plan, die, scratch)


def prefill_per_s() -> float:
    """Prompt tokens that an NPU of two dies computes [1/s]."""
    return 2 * PrefillSetting().tokens / prefill_s(2)


def prefill_gain() -> float:
    """What two micro-batches add to the throughput of prompts [%]."""
    return 100.0 * (prefill_s(1) / prefill_s(2) - 1.0)


def layer_us(drafts: int) -> float:
    """One layer of 48 sequences in two micro-batches: what eight take longer than four, over four [us]."""
    return (step_s(48, drafts, 2, 8) - step_s(48, drafts, 2, 4)) / 4 * 1e6


def microbatch_gain(sequences: int) -> float:
    """What two micro-batches add to the throughput [%]."""
    return 100.0 * (step_s(sequences, 1, 1) / step_s(sequences, 1, 2) - 1.0)


def utilisation(groups: int, m: int, n: int, k: int) -> float:
    """Share of the peak that a grouped product in int8 reaches alone [%]."""
    spec = load_product("ascend_910c_die")
    inputs = (
        TensorType((groups * m, rounded_bytes(k, False)), PACKED),
        TensorType((groups, n, INT8.row_bytes(k)), PACKED), TensorType((groups,), "int64"),
    )  # fmt: skip
    how = {"format": INT8.packed.text, "scales": INT8.scales, "result": "bf16"}
    demand = operation("packed_grouped_linear").demand(inputs, (TensorType((groups * m, n), "bf16"),), how)
    cost = kernel_cost(spec, demand, ("hbm",) * 3, ("hbm",), "fused")
    return 100.0 * demand.flop / cost.time_s / spec.computes["tensor"].peak_flop_per_s["int8"]


def step_rows() -> list[PublishedRow]:
    """Rows of decoding and of products."""
    rows = []

    def row(table: str, what: Mapping[str, str | int | float], quantity: str, published: float, unit: str,
            ours: Callable[[], float],
            within: float | None, why: str = "") -> None:  # fmt: skip
        rows.append(
            PublishedRow(table, what, quantity, published, unit, "P", lambda _: ours(), (), within, why=why)
        )  # fmt: skip

    for batch, tpot, rate in ((96, 49.4, 1943.0), (8, 14.9, 538.0)):
        row("decode", {"batch_per_npu": batch}, "tpot", tpot, "ms", partial(tpot_ms, batch // 2), WITHIN)
        row(
            "decode",
            {"batch_per_npu": batch},
            "rate_per_npu",
            rate,
            "token/s",
            partial(tokens_per_s, batch // 2),
            WITHIN,
        )
    for drafts, published in ((0, 874.0), (1, 1260.0)):
        row(
            "layer", {"drafts": drafts, "batch_per_npu": 96}, "time", published, "us", partial(layer_us, drafts), WITHIN
        )
    for batch, gain in ((64, 5.8), (96, 9.4), (128, 6.9)):
        why = "attention of one micro-batch on two thirds of the cores is nearly all of a layer, experts hide behind it"
        row(
            "microbatches", {"batch_per_npu": batch}, "gain", gain, "%", partial(microbatch_gain, batch // 2), None, why
        )
    row("prefill", {"balance": "perfect"}, "rate_per_npu", 6688.0, "token/s", prefill_per_s, WITHIN)
    row("prefill", {"balance": "default"}, "rate_per_npu", 5655.0, "token/s", prefill_per_s, None,
        "ours is perfectly balanced; how uneven the default was is not published")  # fmt: skip
    # +23 to +31 %: the middle, and a tolerance that reaches both ends.
    row("prefill", {"microbatches": 2}, "gain", 27.0, "%", prefill_gain, 4.0 / 27.0)
    for shape, published in INT8_GEMM.items():
        what = dict(zip(("groups", "m", "n", "k"), shape, strict=True))
        row("int8_gemm", what, "utilisation", published, "%", partial(utilisation, *shape), WITHIN)
    return rows
