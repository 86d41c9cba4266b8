"""CXL-aware fine-tuning: benchmarks of its author as plans, and the placements over its workloads.

=================================================  ==========  ======  =========
row                                                published   ours    tolerance
=================================================  ==========  ======  =========
Adam, 73,400,320 elements on the card [ms]         25.724      25.8    10 %
Adam, 20,971,520 elements, half on the card [ms]   2.075       2.45    a miss, close to the size of the caches
copies of 2 GiB to the card [GiB/s]                34.7        34.7    calibration
both of two GPUs from one card [GB/s]              53          53.5    10 %
cxl_aware over local_only, least [x]               0.97        0.94    a miss, 12B at 32K tokens
cxl_aware over local_only, two cards, least [x]    1.00        1.00    2 %
=================================================  ==========  ======  =========
"""

from __future__ import annotations

from functools import lru_cache

import pytest

from controller.reproduce.cxl import MODELS, SYSTEMS, WORKLOADS, paper
from controller.reproduce.cxl_bench import adam_ms, copy_bytes_per_s
from controller.reproduce.rows import compare
from controller.reproduce.runner import run_request

PAPER = paper()
BENCHMARKS = [row for row in PAPER.rows if not row.runs]
MISSES = {("cpu_adam_interleaved", "elements=20971520 dram=1 card=1")}
GIB = 2**30


@lru_cache(maxsize=64)
def result(key: str):
    return run_request(PAPER.runs[key])


def ratio(model: str, work: str, system: str, over: str = "local_only") -> float:
    ours, other = (result(f"{model} {work} {name}").tokens_per_s for name in (system, over))
    assert ours is not None and other is not None
    return ours / other


@pytest.mark.parametrize("row", BENCHMARKS, ids=lambda row: f"{row.table}-{'-'.join(map(str, row.row.values()))}")
def test_benchmarks_meet_their_targets_and_calibrate_to_their_rows(row):
    compared = compare(PAPER, row, {})
    if row.calibration and isinstance(row.published, str):
        assert str(compared.ours).startswith(row.published)
    elif row.calibration:
        assert compared.ours == pytest.approx(row.published, rel=0.03)
    elif (row.table, compared.row) in MISSES:
        assert not compared.ok and compared.error == pytest.approx(0.18, abs=0.02)
    elif row.tolerance is not None:
        assert compared.holds, f"{compared.published} published, {compared.ours} ours"


def test_what_counts_is_what_was_not_read_off():
    assert len(PAPER.rows) == len({(row.table, *row.row.items(), row.quantity) for row in PAPER.rows})
    calibration = [row for row in PAPER.rows if row.calibration]
    assert len(calibration) == 10
    assert all(row.table in ("cpu_adam", "gpu_copies", "small_copies") for row in calibration)
    assert all(row.tolerance is None for row in calibration)
    printed = {(row.table, *row.row.values()) for row in BENCHMARKS if row.tolerance is None and not row.calibration}
    assert ("cpu_adam", 5_242_880, "cxl") in printed
    assert {row[0] for row in printed} == {"cpu_adam", "small_copies"}
    small = sum(batch * seq < 16_384 for batch, seq in WORKLOADS)
    # The larger memory is looked at for large steps only.
    assert len(PAPER.runs) == len(MODELS) * (len(WORKLOADS) * len(SYSTEMS) - small)


def test_the_smallest_tensor_on_the_card_is_a_printed_miss():
    assert adam_ms(5_242_880, 0, 1) / 0.444 - 1 == pytest.approx(-0.47, abs=0.02)


def test_small_copies_are_fast_here_between_256_kib_and_4_mib():
    assert copy_bytes_per_s(2**20, "dram", False) / GIB / 25.0 - 1 == pytest.approx(0.52, abs=0.03)


def test_two_gpus_share_what_one_card_gives():
    for out in (False, True):
        alone = copy_bytes_per_s(2 * GIB, "cxl", out, 1, False)
        assert copy_bytes_per_s(2 * GIB, "cxl", out, 2, False) == pytest.approx(alone / 2, rel=0.01)
        # DRAM is fast enough for both.
        assert copy_bytes_per_s(2 * GIB, "dram", out, 2) == pytest.approx(copy_bytes_per_s(2 * GIB, "dram", out), 1e-3)


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("work", ["8x4096", "3x32768"])
def test_two_cards_give_what_dram_alone_gives(model: str, work: str):
    assert ratio(model, work, "cxl_aware, two cards") == pytest.approx(1.0, abs=0.02)


def test_one_card_is_close_behind_and_the_larger_model_misses_the_claim_at_its_smallest_workload():
    assert 0.97 < ratio("qwen2.5-7b", "8x4096", "cxl_aware") <= 1.001
    assert 0.97 < ratio("mistral-nemo-12b", "2x32768", "cxl_aware") < 0.99
    assert ratio("mistral-nemo-12b", "8x4096", "cxl_aware") == pytest.approx(0.9415, abs=0.003)
    # With the DRAM that the reference machine shows, and not only with what its allocator is given.
    assert 0.97 < ratio("mistral-nemo-12b", "8x4096", "cxl_aware, 128 GiB") < 0.99


@pytest.mark.parametrize("model", MODELS)
def test_naive_interleaving_is_behind(model: str):
    for work in ("1x4096", "8x4096"):
        assert 1.01 < ratio(model, work, "cxl_aware", "naive_interleaving") < 1.4


def test_a_step_is_computed_in_about_a_second():
    from controller.clock import wall_clock_s

    began = wall_clock_s()
    run_request(PAPER.runs["mistral-nemo-12b 16x4096 cxl_aware, two cards"])
    assert wall_clock_s() - began < 20  # loaded machines count too; alone it takes a third of a second
