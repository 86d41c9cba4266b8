"""Selection by digits against its passes and its limits."""

import pytest

from node.hardware.catalog import load_product
from node.hardware.cost import kernel_cost
from node.hardware.operation import TensorType
from node.hardware.operations import complete_attributes, operation


def top_k(device, rows, columns, dtype="bf16", k=8, name="top_k"):
    entry = operation(name)
    x = TensorType((rows, columns), dtype)
    outputs = [TensorType((rows, k), dtype), TensorType((rows, k), "int64")] if name == "top_k" else [
        TensorType((rows,), "int64")
    ]  # fmt: skip
    attributes = complete_attributes(entry, {"k": k} if name == "top_k" else {})
    spec = load_product(device)
    tier = next(iter(spec.tiers))
    return kernel_cost(spec, entry.demand([x], outputs, attributes), [tier], [tier] * len(outputs))


def test_rows_beyond_the_cache_are_read_once_more_than_they_have_digits():
    scan, half, full = (
        top_k("h100_sxm", 8192, 128_000, name="argmax").time_s,
        top_k("h100_sxm", 8192, 128_000).time_s,
        top_k("h100_sxm", 8192, 128_000, "fp32").time_s,
    )
    assert half / scan == pytest.approx(3, rel=1e-2)
    assert full / scan == pytest.approx(2 * 5, rel=1e-2)


def test_rows_that_fit_come_back_from_the_cache():
    small, large = top_k("l40s", 64, 128_000), top_k("l40s", 64 * 64, 128_000)
    assert 64 * small.time_s < large.time_s
    assert small.parts["again"] < small.parts["hbm"]


def test_a_processor_passes_once():
    taken = top_k("xeon_8480", 64, 128_000).time_s
    spec = load_product("xeon_8480")
    share = spec.computes["vector"].constants["memory_efficiency"]
    moved = 64 * 128_000 * 2 / spec.tiers["dram"].read_bytes_per_s
    assert taken == pytest.approx(moved / share, rel=1e-2)


@pytest.mark.parametrize("device", ["h100_sxm", "l40s", "mi300x", "tpu_v6e", "rtx_4090", "epyc_9654"])
def test_more_rows_take_longer_and_nothing_beats_one_read(device):
    times = [top_k(device, rows, 32_000).time_s for rows in (1, 16, 256, 4096)]
    assert times == sorted(times)
    spec = load_product(device)
    assert times[-1] >= 4096 * 32_000 * 2 / next(iter(spec.tiers.values())).read_bytes_per_s
