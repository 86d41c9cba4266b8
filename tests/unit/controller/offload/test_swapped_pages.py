"""A cache that was swapped out comes back by page faults; one that is not pinned passes pinned memory first."""

import pytest

from controller.experiment.run_spec import RunSpec
from controller.offload.swapped_pages import swap_in_bytes_per_s
from controller.plan.value import Place
from controller.reproduce.runner import run_request
from controller.topology.loader import load_topology

DRIVE = Place("ssd0", "flash")
SIZE = {"batch": 8, "prompt_tokens": 256, "output_tokens": 3}


def test_a_fault_waits_for_eight_pages():
    topology = load_topology("a6000_ssd")
    # 32 KiB in the 45 us of a read and its 4.68 us at 7 GB/s.
    assert swap_in_bytes_per_s(topology, DRIVE) == pytest.approx(32_768 / (45e-6 + 32_768 / 7e9))
    slower = load_topology("a6000_ssd", ["ssd.flash.read_latency=90 us"])
    assert swap_in_bytes_per_s(slower, DRIVE) == pytest.approx(32_768 / (90e-6 + 32_768 / 7e9))


def test_a_swapped_cache_is_read_at_the_rate_of_faults():
    swapped = run_request(RunSpec("deepspeed", "opt-1.3b", options={"cache": "swap"}, **SIZE))
    read_s = swapped.label_s["kv read"]
    rate = swap_in_bytes_per_s(load_topology("a6000_ssd"), DRIVE)
    assert swapped.flash_bytes[0] / read_s == pytest.approx(rate, rel=0.05)
    assert swapped.decode_s > read_s
    here = run_request(RunSpec("deepspeed", "opt-1.3b", **SIZE))
    assert here.flash_bytes == (0.0, 0.0) and here.decode_s < swapped.decode_s / 5


def test_a_cache_in_memory_that_is_not_pinned_is_copied_twice():
    pinned = run_request(RunSpec("dram_kv", "opt-1.3b", **SIZE))
    relayed = run_request(RunSpec("flexgen", "opt-1.3b", options={"cache": "dram"}, **SIZE))
    assert relayed.flash_bytes == (0.0, 0.0)
    assert relayed.label_s["kv read"] > 0 and "kv read" not in pinned.label_s
    assert pinned.decode_s < relayed.decode_s < 2 * pinned.decode_s
