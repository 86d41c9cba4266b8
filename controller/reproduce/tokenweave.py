"""TokenWeave: collectives of eight H100 behind NVSwitches, by NCCL and by kernels on multicast memory.

Source: microsoft/tokenweave, artifact tables figure_4.csv and figure_5.csv: 8 GPUs, rows of 8,192 bf16 values, which
are 16 KiB a token, timed in PyTorch. The host is declared as `dgx_h100`, with an older NCCL's table for what it picks,
and one change of time: calls of PyTorch's process group begin later than those of nccl-tests. How much is the one knob,
set from NCCL's all-gather of 64 tokens and applied to every NCCL row alike. (Set from its reduce-scatter of 64 tokens
it would be 12.1 instead of 12.5 us.)
Kernels on multicast memory have no knob of their own; which of NCCL's latencies they pay, and how many pieces they have
on their way, was chosen with these tables in view.

Serving latencies of the paper need the fused kernel and its overlap, which are not modelled here.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

from controller.collectives.call import Call
from controller.collectives.choose.algorithm import choose
from controller.collectives.choose.nccl import choose_nccl
from controller.collectives.group import first_ranks
from controller.collectives.protocol import protocol_of, protocols_of
from controller.reproduce.rows import Paper, PublishedRow, Results, Value
from controller.topology.loader import load_topology
from controller.topology.schema import Topology

HIDDEN, RANKS = 8192, 8
LATER_US = 12.5
"""The knob: how much later a call of PyTorch's process group begins than one of nccl-tests [us]."""

CALIBRATION = ("all_gather", 64)
LARGE_TOKENS = 512
"""8 MiB; targets are 10 % above and 20 % below."""

NCCL_US = {
    "all_reduce": {64: 35.6, 256: 67.0, 1024: 137.2, 4096: 348.1, 16384: 1231.0},
    "reduce_scatter": {64: 29.3, 256: 55.6, 1024: 91.4, 4096: 208.0, 16384: 734.9},
    "all_gather": {64: 29.7, 256: 49.2, 1024: 89.2, 4096: 218.6, 16384: 740.8},
}
MULTIMEM_US = {
    "all_reduce": {64: 16.5, 256: 28.4, 1024: 75.1, 4096: 257.2, 16384: 986.0},
    "reduce_scatter": {64: 16.0, 256: 25.7, 1024: 60.2, 4096: 197.8, 16384: 753.6},
    "all_gather": {64: 13.5, 256: 22.7, 1024: 56.0, 4096: 189.6, 16384: 727.3},
}
IN_SWITCH = {"all_reduce": "in_switch_two_shot", "reduce_scatter": "in_switch", "all_gather": "in_switch"}


@lru_cache(maxsize=2)
def host(later_us: float = LATER_US) -> Topology:
    """The declared host with the software of the paper's artifact."""
    plain = load_topology("dgx_h100")
    changed = ["options.nccl.version=2.21"]
    for protocol in protocols_of(plain):
        if protocol.name != "multimem":
            begins_us = protocol.base_s * 1e6 + later_us
            changed.append(f"options.collective.{protocol.name}.base={begins_us:.6g} us")
    return load_topology("dgx_h100", changed)


def nccl_us(collective: str, tokens: int, later_us: float = LATER_US) -> float:
    """Time of a call by NCCL's own choice [us]."""
    topology = host(later_us)
    call = Call(collective, first_ranks(topology, RANKS), tokens * HIDDEN, "bf16")
    best = choose_nccl(topology, call).best
    assert best.time_s is not None, "a choice has a time"
    return best.time_s * 1e6


def multimem_us(collective: str, tokens: int) -> float:
    """Time of a call by a kernel on multicast memory [us]."""
    topology = host()
    call = Call(collective, first_ranks(topology, RANKS), tokens * HIDDEN, "bf16")
    best = choose(topology, call, (IN_SWITCH[collective],), (protocol_of(topology, "multimem"),)).best
    assert best.time_s is not None, "a choice has a time"
    return best.time_s * 1e6


def _row(by: str, collective: str, tokens: int, published: float, ours: Callable[[str, int], float]) -> PublishedRow:
    def value(results: Results) -> Value:
        return ours(collective, tokens)

    calibration = by == "nccl" and (collective, tokens) == CALIBRATION
    tolerance = 0.10 if tokens > LARGE_TOKENS else 0.20
    return PublishedRow(
        "collectives", {"by": by, "collective": collective, "tokens": tokens}, "time", published, "us", "P", value, (),
        None if calibration else tolerance, calibration,
    )  # fmt: skip


def paper() -> Paper:
    """The rows of the paper; ours are single calls on the virtual executor."""
    rows = [
        _row("nccl", collective, tokens, time_us, nccl_us)
        for collective, column in NCCL_US.items()
        for tokens, time_us in column.items()
    ]
    rows += [
        _row("multimem", collective, tokens, time_us, multimem_us)
        for collective, column in MULTIMEM_US.items()
        for tokens, time_us in column.items()
    ]
    return Paper(
        "tokenweave",
        "TokenWeave: collectives of 8 x H100 (microsoft/tokenweave, figures 4 and 5)",
        {},
        tuple(rows),
        knob=(
            f"NCCL calls begin {LATER_US:g} us later in PyTorch than in nccl-tests (assumed), all alike, set from "
            f"the row all_gather of 64 tokens; which of NCCL's latencies kernels on multicast memory pay, and how many "
            f"pieces they have on their way, was chosen with the tables in view"
        ),
        plain=f"`windtunnel collective` times calls as nccl-tests does, without these {LATER_US:g} us",
    )
