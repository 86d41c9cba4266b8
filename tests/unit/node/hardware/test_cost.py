"""Kernel costs against closed forms and limits, on every device of the catalog."""

import dataclasses

import pytest

from node.errors import UnknownTier, Unsupported
from node.hardware.catalog import apply_overrides, list_products, load_product
from node.hardware.cost import FAMILIES, kernel_cost
from node.hardware.operation import Demand

GIB = 2**30


def demand(family, **changes):
    """A launch of about a millisecond on a GPU, one input and one output."""
    plain = Demand(family, 1e9, (2 * GIB,), (GIB,), "fp32")
    if family == "gemm":
        plain = Demand("gemm", 2.0 * 4096**3, (2 * 4096**2,) * 2, (2 * 4096**2,), "bf16", "tensor",
                       {"m": 4096, "n": 4096, "k": 4096})  # fmt: skip
    if family == "grouped_gemm":
        plain = Demand(family, 2.0 * 8 * 512 * 4096**2, (2 * 8 * 512 * 4096, 2 * 8 * 4096**2), (2 * 8 * 512 * 4096,),
                       "bf16", "tensor", {"m": 512, "n": 4096, "k": 4096, "groups": 8})  # fmt: skip
    if family == "quantisation":
        plain = Demand(family, 4.0 * GIB, (4 * GIB,), (GIB, 2**18), "fp32", "vector", {"rows": 2**16})
    if family == "decode_attention":
        plain = Demand(family, 4.0 * 8 * 40 * 1000 * 128, (81920, 81920000, 81920000), (81920, 1280), "fp16", "tensor",
                       {"batch": 8, "heads": 40, "kv_heads": 40, "tokens": 1000, "head_dim": 128})  # fmt: skip
    if family == "grouped_gemm":  # eight experts of Mixtral's widths, 512 rows each
        plain = Demand(family, 2.0 * 4096 * 4096 * 14336, (2 * 4096 * 4096, 2 * 8 * 4096 * 14336), (2 * 4096 * 14336,),
                       "bf16", "tensor", {"m": 512, "n": 8 * 14336, "k": 4096, "rows": 4096, "experts": 8,
                                          "active": 8, "most": 512})  # fmt: skip
    if family == "latent_decode":  # sixteen heads of DeepSeek-V2's widths over 1,000 latents
        plain = Demand(family, 2.0 * 8 * 16 * 1000 * (2 * 512 + 64), (131072, 16384, 8192000, 1024000),
                       (131072, 512), "bf16", "tensor", {"batch": 8, "heads": 16, "kv_heads": 1, "tokens": 1000,
                                                         "rank": 512, "rope": 64})  # fmt: skip
    return dataclasses.replace(plain, **changes)


def cost(spec, work, tier=None):
    name = tier or next(iter(spec.tiers))
    return kernel_cost(spec, work, [name] * len(work.reads), [name] * len(work.writes))


COMPUTING = [product for product in list_products() if load_product(product).computes]


@pytest.mark.parametrize("product", COMPUTING)
@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_never_faster_than_the_roofline(product, family):
    spec = load_product(product)
    work = demand(family)
    result = cost(spec, work)
    tier = next(iter(spec.tiers.values()))
    moved = sum(result.read_bytes.values()) / tier.read_bytes_per_s
    assert result.time_s >= moved
    boost = max((unit.constants.get("gemm_efficiency", 1.0) for unit in spec.computes.values()), default=1.0)
    peak = max(peak for unit in spec.computes.values() for peak in unit.peak_flop_per_s.values())
    assert result.time_s >= work.flop / (peak * max(1.0, boost))
    assert result.parts[result.bound] <= result.time_s


@pytest.mark.parametrize("product", COMPUTING)
@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_more_bandwidth_is_never_slower(product, family):
    spec = load_product(product)
    name = next(iter(spec.tiers))
    tier = spec.tiers[name]
    faster = dataclasses.replace(
        spec, tiers={**spec.tiers, name: dataclasses.replace(tier, read_bytes_per_s=2 * tier.read_bytes_per_s)}
    )
    assert cost(faster, demand(family)).time_s <= cost(spec, demand(family)).time_s


def test_a_streaming_kernel_takes_its_bytes_at_the_stated_efficiency():
    spec = load_product("rtx_a6000")
    efficiency = spec.computes["vector"].constants["memory_efficiency"]
    result = cost(spec, demand("elementwise"))
    assert result.time_s == pytest.approx(3 * GIB / 768e9 / efficiency, rel=1e-12)  # one bus: reads and writes add up
    assert result.bound == "hbm"
    assert (result.read_bytes, result.write_bytes) == ({"hbm": 2 * GIB}, {"hbm": GIB})


def test_arithmetic_bounds_a_kernel_with_few_bytes():
    spec = load_product("rtx_a6000")
    result = cost(spec, demand("elementwise", flop=38.7e12, reads=(4,), writes=(4,)))
    assert result.bound == "compute"
    assert result.time_s == pytest.approx(1.0, rel=1e-12)


def test_latency_is_the_start_of_the_queue_and_of_the_slowest_tier():
    spec = load_product("instinfer_csd")
    work = demand("decode_attention")
    result = kernel_cost(spec, work, ["dram", "flash", "flash"], ["dram", "dram"])
    assert result.latency_s == spec.compute_queue.launch_s + spec.tiers["flash"].read_latency_s
    assert cost(load_product("rtx_a6000"), work).latency_s == load_product("rtx_a6000").compute_queue.launch_s


def test_attention_in_a_drive_runs_at_the_rate_of_its_flash():
    spec = load_product("instinfer_csd")
    work = demand("decode_attention")
    result = kernel_cost(spec, work, ["dram", "flash", "flash"], ["dram", "dram"])
    pages = -(-1000 * 256 // 4096)  # of 16 tokens of one head
    assert result.read_bytes["flash"] == 2 * 8 * 40 * pages * 4096
    assert result.bound == "flash"
    assert result.time_s == pytest.approx(result.read_bytes["flash"] / 11.2e9, rel=1e-12)


def test_a_slower_engine_bounds_attention_by_arithmetic():
    spec = apply_overrides(load_product("instinfer_csd"), {"engine.peak.fp16": "1 GFLOP/s"})
    work = demand("decode_attention")
    result = kernel_cost(spec, work, ["dram", "flash", "flash"], ["dram", "dram"])
    assert result.bound == "compute"
    assert result.time_s == pytest.approx(work.flop / 1e9, rel=1e-12)


def test_decode_attention_comes_near_its_share_of_memory_bandwidth():
    spec = load_product("h100_sxm")
    work = demand("decode_attention", reads=(8192 * 64, 2**30, 2**30), writes=(8192 * 64, 8192), dims={
        "batch": 64, "heads": 32, "kv_heads": 8, "tokens": 8192, "head_dim": 128})  # fmt: skip
    share = 2 * 2**30 / 3350e9 / cost(spec, work).time_s
    assert 0.8 <= share <= spec.computes["tensor"].constants["decode_efficiency"]


def test_prefill_attention_comes_near_its_share_of_the_peak():
    spec = load_product("h100_sxm")
    tokens, pairs = 8192, 8192 * 8193 // 2
    work = Demand("prefill_attention", 4.0 * 2 * 64 * pairs * 128, (tokens * 2**15,) * 3, (tokens * 2**15,), "bf16",
                  "tensor", {"batch": 2, "heads": 64, "kv_heads": 8, "tokens": tokens, "head_dim": 128,
                             "causal": 1.0, "pairs": pairs})  # fmt: skip
    share = work.flop / 989e12 / cost(spec, work).time_s
    assert 0.45 <= share <= spec.computes["tensor"].constants["prefill_efficiency"]


def test_attention_over_nothing_and_on_plain_units_is_the_roofline():
    spec = load_product("xeon_5320")
    result = cost(spec, demand("prefill_attention", flop=3.66e12))
    assert result.time_s == pytest.approx(1.0, rel=1e-12)
    assert cost(load_product("h100_sxm"), demand("decode_attention", flop=0.0, reads=(0, 0, 0), writes=(0, 0),
                                                 dims={"tokens": 0})).time_s == 0.0  # fmt: skip


def test_delay_takes_its_seconds_and_nothing_else():
    work = Demand("delay", 0.0, (), (), "fp32", "vector", {"seconds": 0.25})
    result = kernel_cost(load_product("rtx_a6000"), work, [], [])
    assert (result.time_s, result.latency_s, result.bound) == (0.25, 0.0, "delay")


def test_an_empty_kernel_takes_no_time_beyond_its_start():
    result = cost(load_product("rtx_a6000"), demand("elementwise", flop=0.0, reads=(0,), writes=(0,)))
    assert result.time_s == 0.0


def test_what_cannot_run_says_why():
    spec = load_product("rtx_a6000")
    with pytest.raises(Unsupported, match="family 'sorting'"):
        cost(spec, demand("sorting"))
    with pytest.raises(UnknownTier, match="no tier 'flash'"):
        cost(spec, demand("elementwise"), "flash")
    with pytest.raises(Unsupported, match="no compute unit"):
        cost(load_product("samsung_980_pro_2tb"), demand("elementwise"))


def test_the_same_question_gets_the_same_answer():
    spec = load_product("rtx_a6000")
    assert cost(spec, demand("gemm")) == cost(spec, demand("gemm"))


def test_a_queue_with_a_share_of_the_cores_has_that_share_of_the_peak_and_all_of_the_memory():
    spec = load_product("ascend_910c_die")
    thirds = {name: dataclasses.replace(spec.queues["stream"], name=name, share=share)
              for name, share in (("two", 2 / 3), ("one", 1 / 3))}  # fmt: skip
    split = dataclasses.replace(spec, queues={**spec.queues, **thirds})
    product, copy = demand("gemm"), demand("elementwise")

    def on(queue, work):
        return kernel_cost(split, work, ["hbm"] * len(work.reads), ["hbm"] * len(work.writes), queue)

    assert on("stream", product).time_s < on("two", product).time_s < on("one", product).time_s
    assert on("one", product).parts["compute"] > 2.5 * on("stream", product).parts["compute"]
    assert on("one", copy).time_s == pytest.approx(on("stream", copy).time_s, rel=0.5)
