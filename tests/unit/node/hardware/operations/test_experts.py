"""Work of experts and of latent attention, and operands that they refuse."""

from __future__ import annotations

import pytest

from node.errors import BadAttribute, DtypeMismatch, ShapeMismatch
from node.hardware.catalog import load_product
from node.hardware.cost import kernel_cost
from node.hardware.operation import TensorType
from node.hardware.operations import complete_attributes, operation
from node.hardware.operations.experts import expert_loads
from node.hardware.packed import PackedFormat


def half(*shape: int) -> TensorType:
    return TensorType(shape, "bf16")


def grouped(rows: int, experts: int, loads: tuple[int, ...] = (), **bound: int):
    inputs = [half(rows, 64), half(experts, 32, 64), TensorType((experts,), "int64")]
    return operation("grouped_linear").demand(
        inputs, [half(rows, 32)], {**({"loads": loads} if loads else {}), **bound}
    )


def test_loads_are_whole_rows_in_proportion():
    assert expert_loads(10, 4) == (3, 3, 2, 2)
    assert expert_loads(3, 8) == (1, 1, 1, 0, 0, 0, 0, 0)
    assert expert_loads(10, 3, (7, 1, 0)) == (9, 1, 0)
    assert expert_loads(0, 3) == (0, 0, 0)
    assert sum(expert_loads(12_345, 7, (5, 0, 3, 3, 9, 1, 1))) == 12_345


def test_only_experts_with_rows_are_read():
    assert grouped(3, 8).reads[1] == 3 * 32 * 64 * 2
    assert grouped(100, 8).reads[1] == 8 * 32 * 64 * 2
    assert grouped(100, 8, (1, 1, 0, 0, 0, 0, 0, 0)).reads[1] == 2 * 32 * 64 * 2


def test_a_grouped_product_is_one_of_each_expert():
    demand = grouped(100, 8)
    assert demand.flop == 2 * 100 * 32 * 64
    assert [demand.dims[name] for name in ("groups", "m", "n", "k")] == [8, 13, 32, 64]
    assert (demand.dims["active"], demand.dims["most"]) == (8, 13)
    assert grouped(100, 8, (3, 1, 0, 0, 0, 0, 0, 0)).dims["most"] == 75


def test_a_capacity_bounds_the_rows_of_an_expert():
    """100 rows of which 75 fall on one of four experts, which has room for 30: 25 others and those are computed."""
    demand = grouped(100, 4, (3, 1, 0, 0), capacity=30)
    assert (demand.dims["most"], demand.dims["rows"], demand.dims["active"]) == (30, 55, 2)
    assert demand.flop == 2 * 55 * 32 * 64
    assert demand.reads[0] == 55 * 64 * 2
    assert grouped(100, 4, (3, 1, 0, 0), capacity=75) == grouped(100, 4, (3, 1, 0, 0))
    assert grouped(100, 4, capacity=25) == grouped(100, 4)
    packed = operation("packed_grouped_linear").demand(
        [half(100, 64), TensorType((4, 32, 68), "uint8"), TensorType((4,), "int64")], [half(100, 32)],
        {"format": PackedFormat("fp8", 8, 0, 32).text, "result": "bf16", "loads": (3, 1, 0, 0), "capacity": 30},
    )  # fmt: skip
    assert (packed.dims["most"], packed.flop, packed.reads[0]) == (30, 2 * 55 * 32 * 64, 55 * 64 * 2)


def test_one_expert_that_takes_all_rows_costs_what_a_dense_product_does():
    spec = load_product("h100_sxm")

    def seconds(loads: tuple[int, ...]) -> float:
        inputs = [half(4096, 2048), half(8, 4096, 2048), TensorType((8,), "int64")]
        demand = operation("grouped_linear").demand(inputs, [half(4096, 4096)], {"loads": loads})
        return kernel_cost(spec, demand, ["hbm"] * 3, ["hbm"]).time_s

    dense = operation("linear").demand([half(4096, 2048), half(4096, 2048)], [half(4096, 4096)], {})
    assert seconds((1, 0, 0, 0, 0, 0, 0, 0)) == pytest.approx(kernel_cost(spec, dense, ["hbm"] * 2, ["hbm"]).time_s)
    assert seconds(()) > seconds((1, 0, 0, 0, 0, 0, 0, 0))


def decode(heads: int, tokens: int, batch: int = 16):
    cache = [half(batch, 1, 8192, 512), half(batch, 1, 8192, 64)]
    out = [half(batch, heads, 512), TensorType((batch, heads), "fp32")]
    inputs = [half(batch, heads, 512), half(batch, heads, 64), *cache]
    return operation("latent_decode_attention").demand(inputs, out, {"tokens": (tokens,), "scale": 0.1})


def test_latents_are_read_once_for_all_heads():
    assert sum(decode(128, 1000).reads[2:]) == sum(decode(16, 1000).reads[2:]) == 16 * 1000 * 576 * 2
    assert decode(128, 1000).flop == 2 * 16 * 128 * 1000 * (576 + 512)


def test_latents_cost_no_less_than_memory_and_arithmetic():
    spec = load_product("h100_sxm")
    for heads in (16, 128):
        demand = decode(heads, 8000, 64)
        cost = kernel_cost(spec, demand, ["hbm"] * 4, ["hbm"] * 2)
        assert cost.time_s >= sum(demand.reads) / spec.tiers["hbm"].read_bytes_per_s
        assert cost.time_s >= demand.flop / spec.computes["tensor"].peak_flop_per_s["bf16"]


def test_prefill_counts_three_widths():
    inputs = [half(1, 10, 8 * 128), half(1, 10, 8 * 64), half(1, 10, 8 * 128), half(1, 10, 64), half(1, 10, 8 * 128)]
    demand = operation("latent_prefill_attention").demand(inputs, [inputs[4]], {"heads": 8, "scale": 0.1})
    assert demand.flop == 2 * 55 * 8 * (128 + 64 + 128)


WORDS = TensorType((3, 2), "int64")
REFUSED = [
    ("expert_gate", [half(3, 8)], [TensorType((3, 2), "fp32"), WORDS], {"k": 2, "groups": 3}, BadAttribute, "divisor"),
    ("expert_gate", [half(3, 8)], [TensorType((3, 2), "fp32"), WORDS], {"k": 9}, BadAttribute, "'k' is 9, expected 1"),
    (
        "expert_gate", [half(3, 8)], [TensorType((3, 2), "fp32"), WORDS], {"k": 2, "score": "best"}, BadAttribute,
        "softmax, sigmoid, chosen_softmax",
    ),
    ("expert_gate", [half(3, 8)], [half(3, 2), WORDS], {"k": 2}, DtypeMismatch, "weights is bf16, expected fp32"),
    (
        "expert_rows", [half(4, 6), WORDS], [half(6, 6), TensorType((6,), "int64"), TensorType((5,), "int64")],
        {"count": 5}, ShapeMismatch, "experts has shape",
    ),
    (
        "grouped_linear", [half(6, 4), half(3, 5, 4), TensorType((3,), "int64")], [half(6, 5)], {"loads": (1, 2)},
        BadAttribute, "2 entries for 3 experts",
    ),
    (
        "grouped_linear", [half(6, 4), half(3, 5, 4), TensorType((3,), "int64")], [half(6, 5)], {"capacity": -1},
        BadAttribute, "'capacity' is -1, expected 0",
    ),
    (
        "expert_rows", [half(3, 6), WORDS, TensorType((2,), "int64")],
        [half(6, 6), TensorType((6,), "int64"), TensorType((5,), "int64"), TensorType((2,), "int64")],
        {"count": 5, "capacity": 1}, ShapeMismatch, "dropped has shape",
    ),
    (
        "grouped_linear", [half(6, 4), half(3, 5, 3), TensorType((3,), "int64")], [half(6, 5)], {}, ShapeMismatch,
        r"expected \(e, n, 4\)",
    ),
    (
        "expert_sum", [half(6, 4), TensorType((5,), "int64"), TensorType((3, 2), "fp32")], [half(3, 4)], {},
        ShapeMismatch, "order has shape",
    ),
    ("head_linear", [half(2, 3, 4), half(3, 5, 6)], [half(2, 3, 5)], {}, ShapeMismatch, r"expected \(3, n, 4\)"),
    (
        "latent_prefill_attention",
        [half(1, 5, 8), half(1, 5, 4), half(1, 5, 8), half(1, 5, 4), half(1, 5, 8)], [half(1, 5, 8)],
        {"heads": 2, "scale": 1.0}, ShapeMismatch, "k_rope has shape",
    ),
    (
        "latent_decode_attention", [half(1, 2, 4), half(1, 2, 2), half(1, 1, 6, 4), half(1, 1, 6, 2)],
        [half(1, 2, 4), TensorType((1, 2), "fp32")], {"tokens": (7,), "scale": 1.0}, BadAttribute, "0 to 6",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("name", "inputs", "outputs", "attributes", "error", "words"), REFUSED)
def test_what_does_not_fit_is_refused(name, inputs, outputs, attributes, error, words):
    with pytest.raises(error, match=words):
        operation(name).check(inputs, outputs, attributes)


def test_tokens_that_outgrow_the_cache_are_read_again_for_each_expert_that_chose_them():
    """H100, 8 experts a token: 16,384 tokens of 8 KiB are 128 MiB, which its cache does not keep; 2,048 are 16 MiB."""
    entry, spec = operation("expert_rows"), load_product("h100_sxm")

    def moved(tokens: int) -> float:
        x, chosen = TensorType((tokens, 4096), "bf16"), TensorType((tokens, 8), "int64")
        rows, order = TensorType((tokens * 8, 4096), "bf16"), TensorType((tokens * 8,), "int64")
        ends = TensorType((64,), "int64")
        demand = entry.demand((x, chosen), (rows, order, ends), complete_attributes(entry, {"count": 64}))
        cost = kernel_cost(spec, demand, ["hbm"] * 2, ["hbm"] * 3)
        bandwidth = spec.tiers["hbm"].read_bytes_per_s * spec.computes["vector"].constants["memory_efficiency"]
        return cost.time_s * bandwidth / x.nbytes

    assert moved(2048) == pytest.approx(1 + 8, rel=0.01)  # once in, eight times out
    assert moved(16384) == pytest.approx(8 + 8, rel=0.01)
