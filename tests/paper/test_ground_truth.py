"""Device models beside measurements that others made: targets by table, on shapes that no fit has seen.

The folder lies beside the checkout. Where it is absent everything here is skipped and says so.
"""

from pathlib import Path
from statistics import median

import pytest

from controller.devices.calibrate.split import is_fitted
from controller.devices.predict.ask import QUESTIONS
from controller.devices.predict.products import find_product
from controller.devices.validate.files import read_measured

DATA = Path(__file__).resolve().parents[3] / "shared" / "ground_truth"

pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason=f"no measurements: {DATA.parent.name}/{DATA.name} is absent")

TARGETS = {
    # file: median, 90th percentile (None: no target)
    "h100_sxm_gemm_bf16.csv.gz": (0.05, 0.13),
    "a100_sxm_gemm_bf16.csv.gz": (0.08, None),
    "l40s_gemm_bf16.csv.gz": (0.10, None),
    "b200_sxm_gemm_bf16.csv.gz": (0.09, None),
    "h100_sxm_gemm_fp8.csv.gz": (0.12, None),
    "h100_sxm_moe_bf16.csv.gz": (0.15, None),
    "h100_sxm_decode_mla_bf16.csv.gz": (0.15, None),
    "h100_sxm_prefill_mla_bf16.csv.gz": (0.15, None),
    "b200_sxm_decode_attention_bf16.csv.gz": (0.12, None),
    "b200_sxm_prefill_attention_bf16.csv.gz": (0.12, None),
    "l40s_decode_attention_bf16.csv.gz": (0.12, None),
    "l40s_prefill_attention_bf16.csv.gz": (0.12, None),
    "a100_sxm_prefill_attention_bf16.csv.gz": (0.12, None),
    "h100_sxm_decode_attention_bf16.csv.gz": (0.07, None),
    "h100_sxm_prefill_attention_bf16.csv.gz": (0.06, None),
    "smartssd_p2p_read.csv": (0.10, None),
}


def rows_of(name):
    found = read_measured(DATA / name)
    assert not found.unusable
    assert len(found.rows) + found.dropped == found.row_count > 0
    return found.rows


@pytest.mark.parametrize("name", TARGETS)
def test_left_out_shapes_hold_the_target(name):
    rows = rows_of(name)
    # Of the H100's tables only the shapes count that no fit has seen.
    left_out = [row for row in rows if not name.startswith("h100") or not is_fitted(row.sizes)]
    assert name.startswith("smartssd") or len(left_out) >= 0.4 * len(rows)
    errors = sorted(abs(row.error) for row in left_out)
    limit, tail = TARGETS[name]
    assert median(errors) <= limit
    if tail is not None:
        assert errors[int(0.9 * len(errors))] <= tail


def test_fit_did_not_favour_the_rows_that_it_saw():
    rows = rows_of("h100_sxm_gemm_bf16.csv.gz")
    seen = median(abs(row.error) for row in rows if is_fitted(row.sizes))
    unseen = median(abs(row.error) for row in rows if not is_fitted(row.sizes))
    assert unseen <= 1.15 * seen


@pytest.mark.parametrize(("below", "published_us"), [(128, (16.1, 18.3)), (3072, (132.0, 148.0))])
def test_tile_steps_show(below, published_us):
    spec, gemm = find_product("h100_sxm"), QUESTIONS["gemm"]
    times = [
        gemm.answer(spec, "bf16", gemm.complete({"m": m, "n": 4096, "k": 4096})).time_s for m in (below, below + 1)
    ]
    assert [time * 1e6 for time in times] == pytest.approx(published_us, rel=0.12)
    step, published = times[1] / times[0], published_us[1] / published_us[0]
    assert 1 + 0.4 * (published - 1) <= step <= 1.05 * published


def test_every_file_is_answered_for():
    for path in sorted(DATA.glob("*.csv*")):
        found = read_measured(path)
        assert found.rows or found.unusable, f"{path.name}: neither compared nor told why not"
        assert not found.wrong, found.unusable
