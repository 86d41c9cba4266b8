"""The strategy of the README, and what it is written with: layers fetched ahead, attention beside a KV cache."""

import re
from pathlib import Path

import numpy as np
import pytest

from controller.errors import BadPlan
from controller.execute.local import LocalRun
from controller.execute.virtual import run_virtual
from controller.models.catalog import load_model
from controller.models.scenario import Scenario
from controller.offload.decoding import decode
from controller.offload.fetched_blocks import fetched_blocks
from controller.offload.gpu_model import GpuModel
from controller.offload.kv_cache import KvCache
from controller.plan.script import Place
from controller.strategies.of_your_own import outside_buffers
from controller.topology.loader import load_topology

ROOT = Path(__file__).resolve().parents[4]
GPU, CPU, FLASH = Place("gpu", "hbm"), Place("cpu", "dram"), Place("csd0", "flash")


def shown(text: str, function: str):
    """A strategy that a text shows, as a function."""
    blocks = re.findall(r"^```python\n(.*?)^```", text, re.M | re.S)
    (block,) = [block for block in blocks if f"def {function}(" in block]
    names: dict = {}
    exec(block, names)
    return names[function]


def fetching(ahead: int):
    """The layers of a model in flash, `ahead` of them on the GPU at once; attention on the GPU."""

    def strategy(run, scenario):
        model, cache = GpuModel(scenario, layers_in=FLASH), KvCache(scenario, GPU)

        def layers(s, x, tokens):
            for block in fetched_blocks(s, model.blocks, GPU, ahead=ahead):
                x = block.finish(s, x, cache.attend(s, block, *block.qkv(s, x, tokens.position), tokens))
            return x

        return decode(run, scenario, model, cache, layers)

    return strategy


@pytest.mark.parametrize("model", ["tiny-opt", "tiny-llama", "tiny-gemma"])
def test_the_strategy_of_the_readme_generates_what_the_plain_model_does(local, model):
    strategy = shown((ROOT / "README.md").read_text(), "streamed")
    local.check(local.generate(strategy, model, "a6000_csd"), model)


def test_keys_on_another_device_than_their_cache_name_the_line(local):
    def strategy(run, scenario):
        model, cache = GpuModel(scenario), KvCache(scenario, CPU)

        def layers(s, x, tokens):
            return cache.attend(s, model.blocks[0], *model.blocks[0].qkv(s, x, tokens.position), tokens)

        return decode(run, scenario, model, cache, layers)

    line = strategy.__code__.co_firstlineno + 4
    with pytest.raises(BadPlan, match=rf"test_own_strategy\.py:{line}: .* on cpu, but q is in gpu\.hbm; move it"):
        local.generate(strategy, "tiny-opt", "a6000_csd")


def test_the_help_page_shows_the_same_strategy():
    readme, page = ((ROOT / path).read_text() for path in ("README.md", "controller/cli/pages/strategy.md"))
    wanted = re.search(r"^def streamed\(.*?^```", readme, re.M | re.S)
    assert wanted and wanted[0] in page


@pytest.mark.parametrize("ahead", [0, 1, 2, 5])
def test_layers_ahead_change_no_value(local, ahead):
    local.check(local.generate(fetching(ahead), "tiny-gemma", "a6000_csd"), "tiny-gemma")


def generated(ahead: int):
    topology = load_topology("a6000_csd", ("csd.flash.read=5 GB/s",))
    scenario = Scenario(topology, load_model("opt-1.3b"), 8, 32, 3, "fp16")
    found = run_virtual(topology, [lambda run: fetching(ahead)(run, scenario)])
    assert found.ok
    return found


def test_every_pass_reads_every_layer_from_flash_and_each_layer_ahead_takes_its_room_on_the_gpu():
    layer_bytes = 12 * 2048**2 * 2  # without biases and norms, a five-hundredth
    two, three = generated(2), generated(3)
    assert two.time_s == pytest.approx(3 * 24 * layer_bytes / 5e9, rel=0.06)
    more = three.peak_bytes["gpu.hbm"] - two.peak_bytes["gpu.hbm"]
    assert more == pytest.approx(layer_bytes, rel=0.002)


def test_the_plan_of_the_help_page_sums_in_the_drive():
    near_data = shown((ROOT / "controller/cli/pages/strategy.md").read_text(), "near_data")
    plan, topology = near_data(None), load_topology("a6000_csd")
    run = LocalRun(topology)

    def program(view):
        for buffer in outside_buffers(plan):
            view.place(buffer, np.full(buffer.shape, 1.0, np.float32), written=True)
        yield view.submit(plan)
        total = yield view.fetch(plan.ops[-1].destinations[0])
        assert (total == 16.0).all()

    assert run.run([program]).ok
    assert plan.ops[0].device == "csd0"
