"""Limits that hold for every shape: more bandwidth is never slower, the roofline is never beaten."""

import dataclasses

from hypothesis import given, settings
from hypothesis import strategies as st

from node.hardware.catalog import load_product
from node.hardware.cost import kernel_cost
from node.hardware.operation import TensorType
from node.hardware.operations import operation

DEVICES = st.sampled_from(["h100_sxm", "rtx_a6000", "l40s", "tpu_v6e", "xeon_8480"])
SIZE = st.integers(1, 20000)


def gemm(m, n, k):
    inputs, outputs = [TensorType((m, k), "bf16"), TensorType((n, k), "bf16")], [TensorType((m, n), "bf16")]
    return operation("linear").demand(inputs, outputs, {})


def decode(batch, groups, per_group, tokens):
    heads = groups * per_group
    kv = TensorType((batch, groups, tokens, 128), "bf16")
    inputs = [TensorType((batch, heads, 128), "bf16"), kv, kv]
    outputs = [TensorType((batch, heads, 128), "bf16"), TensorType((batch, heads), "fp32")]
    return operation("decode_attention").demand(inputs, outputs, {"tokens": (tokens,), "scale": 0.1})


def prefill(batch, heads, tokens, causal):
    x = TensorType((batch, heads, tokens, 128), "bf16")
    return operation("prefill_attention").demand([x, x, x], [x], {"scale": 0.1, "causal": causal})


DEMANDS = st.one_of(
    st.builds(gemm, SIZE, SIZE, SIZE),
    st.builds(decode, st.integers(1, 512), st.integers(1, 64), st.sampled_from([1, 4, 8]), st.integers(0, 40000)),
    st.builds(prefill, st.integers(1, 64), st.integers(1, 64), st.integers(1, 20000), st.booleans()),
)


def cost(spec, demand):
    tier = next(iter(spec.tiers))
    return kernel_cost(spec, demand, [tier] * len(demand.reads), [tier] * len(demand.writes))


@settings(deadline=None, max_examples=150)
@given(DEVICES, DEMANDS)
def test_never_faster_than_the_roofline(product, demand):
    spec = load_product(product)
    tier = next(iter(spec.tiers.values()))
    peak = spec.computes["tensor"].peak_flop_per_s["bf16"]
    moved = sum(demand.reads) / tier.read_bytes_per_s + sum(demand.writes) / tier.write_bytes_per_s
    assert cost(spec, demand).time_s >= max(moved, demand.flop / peak) * (1 - 1e-12)


@settings(deadline=None, max_examples=150)
@given(DEVICES, DEMANDS, st.floats(1.0, 16.0))
def test_more_bandwidth_is_never_slower(product, demand, factor):
    spec = load_product(product)
    name, tier = next(iter(spec.tiers.items()))
    wider = dataclasses.replace(tier, read_bytes_per_s=factor * tier.read_bytes_per_s,
                                write_bytes_per_s=factor * tier.write_bytes_per_s)  # fmt: skip
    faster = dataclasses.replace(spec, tiers={**spec.tiers, name: wider})
    assert cost(faster, demand).time_s <= cost(spec, demand).time_s * (1 + 1e-12)


@settings(deadline=None, max_examples=100)
@given(st.integers(1, 300), st.integers(1, 64), st.integers(0, 20000), st.integers(0, 20000))
def test_more_tokens_never_take_less_time_in_a_drive(batch, groups, tokens, more):
    spec = load_product("instinfer_csd")
    tiers = (["dram", "flash", "flash"], ["dram", "dram"])
    short = kernel_cost(spec, decode(batch, groups, 1, tokens), *tiers)
    long = kernel_cost(spec, decode(batch, groups, 1, tokens + more), *tiers)
    assert long.time_s >= short.time_s
