"""CPU Adam and GPU copies on DRAM and on a CXL card, against the measurements of CXL-aware fine-tuning's author.

Source: DandinPower/numa-cpu-adam-bench (mistral-nemo-12B and qwen2.5-7B, one process) and GPU bandwidth data of the
same author. Two rows of 671,088,640 elements set the rates of the two memories and count nowhere; of the qwen2.5-7B
rows, two on DRAM set the launch and the rate of the last-level cache.
"""

import pytest

from controller.devices.predict.ask import question
from node.hardware.cache import absorbed_write_s
from node.hardware.catalog import load_product
from node.hardware.cost import kernel_cost
from node.hardware.operation import Demand

HOST = load_product("cxl_tuning_host")
MIB, GIB = 2**20, 2**30
CALIBRATION = ((671_088_640, "dram", 67.626), (671_088_640, "cxl", 273.293))
ROWS = (
    (5_242_880, "dram", 0.2579), (20_971_520, "dram", 1.539), (73_400_320, "dram", 6.903),
    (20_971_520, "cxl", 4.221), (73_400_320, "cxl", 25.724),
)  # fmt: skip
OTHER_SET = (
    (67_895_296, "dram", 6.3118), (544_997_376, "dram", 54.825),
    (1_835_008, "cxl", 0.1839), (67_895_296, "cxl", 23.754), (544_997_376, "cxl", 228.82),
)  # fmt: skip
INTERLEAVED = (
    # elements, parts in DRAM and on the card, ms
    (73_400_320, (1, 1), 13.258), (73_400_320, (1, 2), 17.757), (73_400_320, (1, 3), 19.385),
    (73_400_320, (1, 4), 20.839), (671_088_640, (1, 1), 138.93), (671_088_640, (1, 2), 175.59),
    (671_088_640, (1, 3), 200.24), (671_088_640, (1, 4), 216.25), (20_971_520, (1, 2), 2.767),
    (20_971_520, (1, 3), 3.110), (20_971_520, (1, 4), 3.330),
)  # fmt: skip
"""Pages in turn on both memories (mistral-nemo-12B_weighted_interleave); (1, 1) of 20,971,520 is a miss, see below."""
LINK_BYTES_PER_S = 51.7 * GIB
"""GPU copies to pinned DRAM, 2 GiB."""


def adam_ms(elements: int, tier: str) -> float:
    asked = question("adam")
    return asked.answer(HOST, "fp32", asked.complete({"params": elements, "tier": tier})).time_s * 1e3


def interleaved_ms(elements: int, parts: tuple[int, int]) -> float:
    """One step whose tensors have pages in both memories."""
    reads: list[int] = []
    for part in parts:
        reads += [4 * elements * part // sum(parts)] * 4
    writes = reads[:3] + reads[4:7]
    demand = Demand(
        "optimizer", 14.0 * elements, tuple(reads), tuple(writes), "fp32", "vector",
        {"elements": elements, "span": 16.0 * elements},
    )  # fmt: skip
    cost = kernel_cost(HOST, demand, ["dram"] * 4 + ["cxl"] * 4, ["dram"] * 3 + ["cxl"] * 3)
    return (cost.latency_s + cost.time_s) * 1e3


@pytest.mark.parametrize(("elements", "parts", "ms"), INTERLEAVED)
def test_interleaved_steps_come_out_within_a_tenth(elements: int, parts: tuple[int, int], ms: float) -> None:
    assert interleaved_ms(elements, parts) == pytest.approx(ms, rel=0.10)


def test_the_smallest_interleaved_tensor_is_a_miss() -> None:
    # Close to the size of the caches, where the share that they hold counts most.
    assert interleaved_ms(20_971_520, (1, 1)) / 2.075 - 1 == pytest.approx(0.17, abs=0.02)


@pytest.mark.parametrize(("elements", "tier", "ms"), CALIBRATION)
def test_the_rates_of_the_memories_are_those_of_their_rows(elements: int, tier: str, ms: float) -> None:
    assert adam_ms(elements, tier) == pytest.approx(ms, rel=2e-3)


@pytest.mark.parametrize(("elements", "tier", "ms"), (*ROWS, *OTHER_SET))
def test_the_other_steps_come_out_within_a_tenth(elements: int, tier: str, ms: float) -> None:
    assert adam_ms(elements, tier) == pytest.approx(ms, rel=0.10)


def test_the_smallest_tensor_on_the_card_is_a_miss() -> None:
    # 84 MB fit into any cache of such a host, and 206 MB on the card take little more than in DRAM; yet this row takes
    # 1.7 times its twin in DRAM. No capacity explains both, so the model is fast here by almost half.
    assert adam_ms(5_242_880, "cxl") / 0.4443 - 1 == pytest.approx(-0.47, abs=0.02)


@pytest.mark.parametrize(("mebibytes", "gib_per_s"), [(16, 50.8), (128, 48.4), (2048, 34.7)])
def test_copies_to_the_card_fall_off_behind_the_cache(mebibytes: int, gib_per_s: float) -> None:
    cache = HOST.computes["vector"].constants["l2"]
    taken = absorbed_write_s(mebibytes * MIB, cache, LINK_BYTES_PER_S, HOST.tiers["cxl"].write_bytes_per_s)
    assert mebibytes * MIB / taken / GIB == pytest.approx(gib_per_s, rel=0.05)
