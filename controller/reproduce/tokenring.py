"""TokenRing on four A10, and ring against zigzag attention on eight H800 and eight A100.

Sources: the README of github.com/ACA-Lab-SJTU/token-ring (LLaMA2-7B attention, 24,000 tokens, four A10 below PCIe
switches) and that of github.com/zhuzilin/ring-flash-attention (Llama-3.1-8B attention, 8,192 tokens a GPU). A block of
all 6,000 queries and keys of a rank would need more than an A10's peak in the 3.5 ms of a step, so the first is causal,
and its ring attention the zigzag one of the second, on which its code builds.

Both run FlashAttention-2 and not the kernels that the sheets' efficiency was fitted to; `FLASH_ATTENTION_2` is what its
authors state, and the rows of one GPU check it. The first step of TokenRing widens its first result to fp32 in a kernel
of its own.

What is left out: backward passes, batches of unequal sequences, and that sends take SMs from the computation. The
library joins partial results in several element-wise kernels where the plan has one, so that zigzag, whose steps are
short, is slower there; its causal kernels lose more to the mask's edge than the model says, which striped attention
pays in every step: here it is slower than zigzag too, but by far less than measured.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial

from controller.collectives.attention.call import AttentionCall
from controller.collectives.attention.measure import MeasuredAttention, connection_bytes_per_s, measure, prepare
from controller.collectives.group import first_ranks, only
from controller.errors import RunError
from controller.reproduce.rows import Paper, PublishedRow, Results, Value
from controller.topology.loader import load_topology

FLASH_ATTENTION_2 = {"a10_4": 0.73, "dgx_a100": 0.73, "hgx_h800": 0.35}
"""Share of the tensor cores' peak that FlashAttention-2 reaches forwards: 73 % on the A100 (arXiv 2307.08691,
abstract), taken over for the A10 of the same generation, and 35 % on the H100 (arXiv 2407.08608, abstract), for the
H800."""

WITHIN = 0.15
TOKEN_RING_TOKENS = 24_000
LIBRARY_TOKENS = 8_192
"""Of each GPU."""


@cache
def measured(topology: str, scheme: str, ranks: int | None = None) -> MeasuredAttention:
    """One call as the source has it, on the virtual clock.

    Args:
        topology: its name.
        scheme: its name.
        ranks: how many; None for all.

    Raises:
        RunError: it did not end well.
    """
    efficiency = FLASH_ATTENTION_2[topology]
    groups = dict.fromkeys(device.group for device in load_topology(topology).devices.values())
    declared = load_topology(topology, [f"{group}.tensor.prefill_efficiency={efficiency}" for group in groups])
    group = first_ranks(declared, ranks)
    on_a10 = topology == "a10_4"
    call = AttentionCall(
        group,
        tokens=TOKEN_RING_TOKENS if on_a10 else LIBRARY_TOKENS * group.world_size,
        heads=32,
        kv_heads=32 if on_a10 else 8,
        head_dim=128,
        connection_bytes_per_s=connection_bytes_per_s(declared),
    )
    entry = prepare(call, scheme)
    outcome = measure(only(declared, group), entry)
    if entry.time_s is None:
        raise RunError(f"{scheme} attention on {topology}: {outcome.ended}")
    return entry


def step_ms(scheme: str, step: int) -> float:
    """Time of a step on the four A10 [ms]."""
    return measured("a10_4", scheme).steps[step].time_s * 1e3


def iterations_per_s(topology: str, scheme: str, ranks: int | None = None) -> float:
    """Calls in a second [1/s]."""
    time_s = measured(topology, scheme, ranks).time_s
    assert time_s is not None, "measured() raises otherwise"
    return 1.0 / time_s


def order(topology: str) -> str:
    """The library's schemes from slow to fast."""
    return " < ".join(sorted(("ring", "striped", "zigzag"), key=lambda scheme: iterations_per_s(topology, scheme)))


def _row(
    table: str,
    row: dict[str, str | int | float],
    published: Value,
    unit: str,
    ours: Callable[[], Value],
    tolerance: float | None = None,
    calibration: bool = False,
) -> PublishedRow:
    def value(results: Results) -> Value:
        return ours()

    return PublishedRow(table, row, "time" if unit == "ms" else "rate", published, unit, "P", value, (), tolerance,
                        calibration)  # fmt: skip


def _a10_rows() -> tuple[PublishedRow, ...]:
    table = "a10_4_steps"
    return (
        _row(table, {"scheme": "token_ring", "step": 0}, 3.5, "ms", lambda: step_ms("token_ring", 0), WITHIN),
        _row(table, {"scheme": "token_ring", "step": 1}, 3.5, "ms", lambda: step_ms("token_ring", 1), WITHIN),
        _row(table, {"scheme": "token_ring", "step": 2}, 4.6, "ms", lambda: step_ms("token_ring", 2), WITHIN),
        _row(table, {"scheme": "zigzag", "step": 1}, 7.6, "ms", lambda: step_ms("zigzag", 1), None, True),
    )


def _library_rows(topology: str, alone: float, published: dict[str, float]) -> tuple[PublishedRow, ...]:
    table = "8_gpus_forward"
    slow_to_fast = " < ".join(sorted(published, key=lambda scheme: published[scheme]))
    rows = [
        _row(
            table,
            {"box": topology, "scheme": "none", "ranks": 1},
            alone,
            "1/s",
            lambda: iterations_per_s(topology, "ring", 1),
        )
    ]
    for scheme, rate in published.items():
        rows.append(
            _row(
                table,
                {"box": topology, "scheme": scheme},
                rate,
                "1/s",
                partial(iterations_per_s, topology, scheme),
            )
        )
    rows.append(
        _row(
            table,
            {"box": topology, "scheme": "zigzag", "over": "ring"},
            published["zigzag"] / published["ring"],
            "x",
            lambda: iterations_per_s(topology, "zigzag") / iterations_per_s(topology, "ring"),
            WITHIN,
        )
    )
    rows.append(_row(table, {"box": topology, "order": "slow_to_fast"}, slow_to_fast, "", lambda: order(topology), 0.0))
    return tuple(rows)


def paper() -> Paper:
    """The rows of both sources; ours are measured on the virtual executor."""
    return Paper(
        "tokenring",
        "TokenRing on 4 A10, ring and zigzag attention on 8 H800 and A100",
        {},
        (
            *_a10_rows(),
            *_library_rows("hgx_h800", 591.5, {"ring": 38.5, "striped": 55.0, "zigzag": 63.0}),
            *_library_rows("dgx_a100", 373.4, {"ring": 24.0, "striped": 32.5, "zigzag": 38.2}),
        ),
        "connection between two A10 12.9 GB/s (assumed), set from the row zigzag, step 1; FlashAttention-2 at the "
        "share of the peak that its authors state. Step 0 of TokenRing has 0.29 ms to widen its first result to fp32",
        "`windtunnel attention` has the kernels of the sheets, unless --set gpu.tensor.prefill_efficiency=0.73 (A10, "
        "A100) or 0.35 (H800) is given",
    )
