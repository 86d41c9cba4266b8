"""Energy of a run against hand-made occupancy."""

import dataclasses

import pytest

from controller.execute.energy import energy_of
from controller.execute.outcome import ResourceUse
from controller.topology.loader import load_topology
from node.hardware.catalog import load_product

TOPOLOGY = load_topology("a6000_csd")
GPU = load_product("rtx_a6000")
CSD = load_product("instinfer_csd")
CPU = load_product("xeon_5320")


def use(name, busy_s):
    return ResourceUse(name, "queue", busy_s, 0.0, 1.0)


def of(found, device):
    return next(each for each in found.devices if each.device == device)


def only(*names, **specs):
    devices = {name: TOPOLOGY.devices[name] for name in names}
    for name, spec in specs.items():
        devices[name] = dataclasses.replace(devices[name], spec=spec)
    return dataclasses.replace(TOPOLOGY, devices=devices)


def test_nothing_done_is_idle_power_all_the_time():
    found = energy_of(only("gpu", "csd0"), (), 10.0)
    assert of(found, "gpu").energy_j == pytest.approx(10.0 * GPU.power_w["idle"])
    assert found.energy_j == pytest.approx(10.0 * (GPU.power_w["idle"] + CSD.power_w["idle"]))
    assert found.joule_per_token is None
    assert found.left_out == ()


def test_a_gpu_that_computes_all_the_time_draws_its_busy_power():
    found = of(energy_of(only("gpu"), (use("gpu.stream", 10.0),), 10.0), "gpu")
    assert found.energy_j == pytest.approx(10.0 * GPU.power_w["busy"])
    assert sum(found.by_activity.values()) == pytest.approx(found.energy_j)
    assert found.busy_s == 10.0


def test_copies_do_not_count_as_compute_on_a_gpu_but_as_work_on_a_drive():
    resources = (use("gpu.pcie.read", 5.0), use("gpu.copy_out", 5.0), use("csd0.flash.simplex", 5.0))
    found = energy_of(only("gpu", "csd0"), resources, 10.0)
    assert of(found, "gpu").busy_s == 0.0
    drive = of(found, "csd0")
    assert drive.busy_s == 5.0
    assert drive.by_activity["move"] == pytest.approx(5.0 * (CSD.power_w["busy"] - CSD.power_w["idle"]))
    assert sum(drive.by_activity.values()) == pytest.approx(drive.energy_j)


def test_a_drive_that_computes_and_moves_at_once_counts_once():
    resources = (use("csd0.engine", 4.0), use("csd0.flash.simplex", 6.0), use("csd0.pcie.write", 1.0))
    found = of(energy_of(only("csd0"), resources, 10.0), "csd0")
    assert found.energy_j == pytest.approx(
        10.0 * CSD.power_w["idle"] + 6.0 * (CSD.power_w["busy"] - CSD.power_w["idle"])
    )
    assert set(found.by_activity) == {"idle", "compute", "move"}


def test_without_idle_power_the_busy_time_is_a_lower_bound():
    assert "idle" not in CPU.power_w
    found = of(energy_of(only("cpu"), (use("cpu.cores", 2.0),), 10.0), "cpu")
    assert found.lower_bound
    assert found.energy_j == pytest.approx(2.0 * CPU.power_w["busy"])


def test_without_idle_power_a_device_that_did_nothing_is_left_out():
    found = energy_of(only("cpu", "gpu"), (), 10.0)
    assert found.left_out == ("cpu",)
    assert found.lower_bound


def test_a_device_without_power_constants_is_left_out_and_named():
    bare = dataclasses.replace(GPU, power_w={})
    found = energy_of(only("gpu", "csd0", gpu=bare), (use("gpu.stream", 10.0),), 10.0)
    assert found.left_out == ("gpu",)
    assert [each.device for each in found.devices] == ["csd0"]
    nothing = energy_of(only("gpu", gpu=bare), (), 10.0, tokens=5)
    assert (nothing.energy_j, nothing.joule_per_token) == (None, None)
    assert nothing.to_json()["energy_j"] is None


def test_energy_of_a_token():
    found = energy_of(only("gpu"), (use("gpu.stream", 10.0),), 10.0, tokens=100)
    assert found.joule_per_token == pytest.approx(10.0 * GPU.power_w["busy"] / 100)


def test_held_queues_never_count_beyond_the_run():
    found = of(energy_of(only("gpu"), (use("gpu.stream", 99.0),), 10.0), "gpu")
    assert found.energy_j == pytest.approx(10.0 * GPU.power_w["busy"])
