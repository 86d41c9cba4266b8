"""Questions about messages, launches, host memory and the optimizer, against the models that they ask."""

import pytest

from controller.devices.predict.ask import question
from controller.devices.predict.products import find_product
from controller.errors import BadQuestion
from node.hardware.catalog import list_products, load_product
from node.hardware.dram import READ_SHARE, TURN_COST


def ask(name, device, **given):
    asked = question(name)
    return asked.answer(find_product(device), asked.dtype, asked.complete(given))


@pytest.mark.parametrize("device", ["connectx7", "ConnectX-7", "slingshot", "ub", "efa_p5en", "h100_sxm"])
def test_a_message_is_asked_of_anything_with_a_port(device):
    short, long = ask("message", device, bytes=8), ask("message", device, bytes=2**30)
    assert 0 < short.time_s < long.time_s
    port = next(iter(find_product(device).ports.values()))
    assert long.bound == port.name
    assert long.time_s >= 2**30 / port.read_bytes_per_s


def test_one_message_of_a_connectx7_by_hand():
    found = ask("message", "connectx7", bytes=65536)
    assert found.time_s == pytest.approx(0.6e-6 + (65536 + 16 * 30) / 50e9)
    assert ask("message", "connectx7", bytes=8).bound == "latency"
    many = ask("message", "connectx7", bytes=8, count=10**6, in_flight=1024)
    assert many.time_s == pytest.approx(10**6 * 3e-9, rel=1e-3)
    assert many.bound == "messages"


def test_a_port_that_is_not_there_is_named():
    with pytest.raises(BadQuestion, match="it has nic, pcie"):
        ask("message", "connectx7", bytes=8, port="nvlink")


@pytest.mark.parametrize("name", ["copy", "memory", "gemm", "adam"])
def test_what_needs_memory_is_refused_of_a_nic(name):
    sizes = {"copy": {"bytes": 8}, "memory": {"bytes": 8}, "gemm": {"m": 8, "n": 8, "k": 8}, "adam": {"params": 8}}
    with pytest.raises(BadQuestion, match=r"connectx7 .*no memory"):
        ask(name, "connectx7", **sizes[name])


def test_launches_one_by_one_take_the_host_and_in_a_graph_the_device():
    gpu = load_product("h100_sxm")
    eager = ask("launches", "h100_sxm", kernels=1000, kernel_ns=1000)
    assert eager.time_s == pytest.approx(1000 * gpu.issue_queue.launch_s + 1e-6)
    assert eager.bound == "host"
    graph = ask("launches", "h100_sxm", kernels=1000, kernel_ns=1000, mode="graph")
    assert graph.time_s == pytest.approx(gpu.issue_queue.launch_s + 1e-3 + 999 * 1.26e-6)
    assert graph.time_s < eager.time_s
    long = ask("launches", "h100_sxm", kernels=10, kernel_ns=10**6)
    assert long.bound == "kernels"
    with pytest.raises(BadQuestion, match="no issue queue"):
        ask("launches", "connectx7", kernels=1, kernel_ns=1)


def test_host_memory_by_mix_and_load():
    reads = ask("host_memory", "xeon_5320", bytes=10**9)
    assert reads.time_s == pytest.approx(10**9 / (187.7e9 * READ_SHARE), rel=1e-4)
    mixed = ask("host_memory", "xeon_5320", bytes=10**9, write_percent=50)
    assert mixed.time_s / reads.time_s == pytest.approx(1 + TURN_COST / 2, rel=1e-3)
    loaded = ask("host_memory", "xeon_5320", bytes=64, used_percent=90)
    assert loaded.parts["latency"] > ask("host_memory", "xeon_5320", bytes=64).parts["latency"]
    queued = ask("host_memory", "xeon_5320", bytes=64, used_percent=90, channels=8)
    assert queued.parts["latency"] > loaded.parts["latency"]
    with pytest.raises(BadQuestion, match="1 channels of 32 banks cannot take 90%"):
        ask("host_memory", "xeon_5320", bytes=64, used_percent=90, channels=1)
    assert ask("host_memory", "cxl_aic", bytes=10**9).time_s > reads.time_s
    card = ask("host_memory", "cxl_tuning_host", bytes=67_600_000, write_percent=43, tier="cxl")
    assert card.time_s == pytest.approx(1e-3, rel=1e-3)
    with pytest.raises(BadQuestion, match="less than 100"):
        ask("host_memory", "xeon_5320", bytes=64, used_percent=100)
    with pytest.raises(BadQuestion, match="is a gpu"):
        ask("host_memory", "h100_sxm", bytes=64)


@pytest.mark.parametrize("device", [name for name in list_products() if load_product(name).kind in ("cpu", "cxl")])
def test_host_memory_is_never_faster_than_the_sheet(device):
    spec = load_product(device)
    tier = next(iter(spec.tiers.values()))
    times = [ask("host_memory", device, bytes=10**9, used_percent=used).time_s for used in (0, 50, 90)]
    assert times[0] >= 10**9 / tier.read_bytes_per_s
    assert times == sorted(times)


def test_a_step_in_a_tier_that_is_not_there_is_refused():
    with pytest.raises(BadQuestion, match="no tier 'cxl'"):
        ask("adam", "xeon_8480", params=8, tier="cxl")


def test_overwrites_of_a_drive_cost_what_their_spare_area_says():
    given = {"bytes": 2**30, "direction": "write"}
    appended = ask("drive", "pm9a3", **given)
    over = ask("drive", "pm9a3", **given, pattern="overwrite")
    roomy = ask("drive", "pm9a3", **given, pattern="overwrite", spare_percent=28)
    assert over.time_s / appended.time_s == pytest.approx(1.07 / 0.14, rel=1e-2)
    assert appended.time_s < roomy.time_s < over.time_s
