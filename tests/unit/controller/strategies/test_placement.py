"""Where things lie and whom the strategies refuse."""

import pytest

from controller.errors import BadTopology, BadWorkload
from controller.execute.virtual import run_virtual
from controller.models.catalog import load_model
from controller.models.scenario import Scenario
from controller.offload.gpu_model import GpuModel
from controller.strategies.deepspeed import deepspeed
from controller.strategies.flexgen import flexgen
from controller.strategies.gpu_only import gpu_only
from controller.strategies.instinfer import InstInferOptions, instinfer
from controller.topology.loader import load_topology


def scenario(topology: str, *overrides: str, model="tiny-opt", batch=4, prompt=16, output=16, **fields) -> Scenario:
    return Scenario(load_topology(topology, overrides), load_model(model), batch, prompt, output, "fp16", **fields)


def run(strategy, asked: Scenario):
    return run_virtual(asked.topology, [lambda view: strategy(view, asked)])


@pytest.mark.parametrize("text", ["0", "-1", "two", "1.5", ""])
def test_options_are_whole_numbers(text: str) -> None:
    with pytest.raises(BadWorkload, match="mini_batches"):
        InstInferOptions.read({"mini_batches": text})
    assert InstInferOptions.read({}).mini_batches == 1


def test_a_topology_without_the_devices_is_refused() -> None:
    with pytest.raises(BadTopology, match="no csd that computes"):
        run(instinfer, scenario("a6000_ssd"))
    with pytest.raises(BadTopology, match="no csd"):
        run(flexgen, scenario("two_hosts"))


def test_flexgen_needs_the_rates_of_its_path() -> None:
    with pytest.raises(BadTopology, match=r"flexgen\.read"):
        run(flexgen, scenario("a6000_csd"))


def test_mini_batches_share_the_batch() -> None:
    model = GpuModel(scenario("a6000_csd", batch=5), 3)
    assert model.row_ranges == ((0, 2), (2, 4), (4, 5))
    with pytest.raises(BadWorkload, match=r"a batch of 2 in 5 micro-batches: .*write --mini-batches 2 or fewer"):
        GpuModel(scenario("a6000_csd", batch=2), 5)


def test_layers_share_the_gpus() -> None:
    model = GpuModel(scenario("a6000_csd", "gpu.count=2", model="opt-13b"))
    assert [(gpu, layers) for gpu, layers, _ in model.spread()] == [("gpu0", 20), ("gpu1", 20)]
    assert (model.place_of(19).device, model.place_of(20).device) == ("gpu0", "gpu1")
    many = GpuModel(scenario("a6000_csd", "gpu.count=5", model="tiny-opt"))
    assert len(many.gpus) == many.scenario.shape.layers, "a GPU without a layer is left alone"


@pytest.mark.parametrize(
    ("strategy", "topology", "home"),
    [
        (gpu_only, "a6000_ssd", "gpu.hbm"),
        (deepspeed, "a6000_ssd", "cpu.dram"),
        (flexgen, "a6000_ssd", "ssd0.flash"),
        (instinfer, "a6000_csd", "csd0.flash"),
    ],
)
def test_the_cache_lies_where_the_strategy_says(strategy, topology: str, home: str) -> None:
    """From a small to a large batch that tier grows by the cache of the sequences, and by little more."""
    peaks = [
        run(strategy, scenario(topology, model="opt-6.7b", batch=batch, prompt=112)).peak_bytes for batch in (2, 4)
    ]
    cache = 2 * 128 * load_model("opt-6.7b").kv_bytes_per_token("fp16")
    grown = {tier: peaks[1][tier] - peaks[0].get(tier, 0) for tier in peaks[1]}
    assert grown[home] >= cache
    for tier, grew in grown.items():
        if tier not in (home, "cpu.dram"):
            assert grew < cache / 2, f"{tier} grows by {grew} bytes with a cache of {cache}"


def test_weights_are_counted_to_the_byte() -> None:
    shape = load_model("opt-13b")
    peak = run(gpu_only, scenario("a6000_ssd", model="opt-13b", batch=1)).peak_bytes["gpu.hbm"]
    rest = peak - shape.weight_bytes("fp16")
    assert 0 < rest < 100e6, "scratch, cache and token ids of 32 tokens"


def test_too_many_sequences_run_out_of_memory_where_the_cache_lies() -> None:
    """OPT-13B takes 25.7 of 51.5 GB; 2,048 tokens of cache are 1.68 GB a sequence."""
    outcome = run(gpu_only, scenario("a6000_ssd", model="opt-13b", batch=16, prompt=1024, output=1024))
    assert outcome.ended.startswith("OOM at gpu.hbm")
    assert run(instinfer, scenario("a6000_csd", model="opt-13b", batch=16, prompt=1024, output=2)).ok


def test_two_drives_are_nearly_twice_as_fast_at_reading_the_cache() -> None:
    """Decode attention in the drives: flash reads of one drive are halved by a second."""
    times = []
    for drives in (1, 2):
        outcome = run(
            instinfer, scenario("a6000_csd", f"csd.count={drives}", model="opt-13b", batch=64, prompt=1024, output=3)
        )
        times.append(next(entry.time_s / drives for entry in outcome.op_times if entry.label == "decode_attention"))
    assert 1.9 < times[0] / times[1] < 2.1
