"""Stripes over drives, and what a request for them takes."""

import pytest

from controller.errors import BadTopology
from controller.execute.virtual import run_virtual
from controller.offload.drive_array import DriveArray
from controller.plan.ops import Buffer
from controller.plan.script import Script
from controller.topology.loader import load_topology

ELEMENTS = 12_000_000_000


def array(*overrides: str) -> DriveArray:
    return DriveArray.of(load_topology("server_4090", overrides))


def requests_s(count: int, *overrides: str, write: bool = False) -> float:
    """Time of so many requests for 24 GB, one after the other [s]."""
    topology = load_topology("server_4090", overrides)
    drives = DriveArray.of(topology)
    tensor, s = drives.tensor("t", "fp16", ELEMENTS), Script("requests")
    places = [Buffer("cpu", "dram", f"place{number}", "fp16", (ELEMENTS,)) for number in range(count)]
    requests = drives.requests(s)
    for place in places:
        (requests.write if write else requests.read)(tensor, place, "request")

    def program(run):
        tensor.place(run)
        for place in places:
            run.place(place, written=True)
        yield run.submit(s.plan())

    return run_virtual(topology, [program]).time_s


@pytest.mark.parametrize("drives", [1, 2, 5, 12])
def test_a_request_takes_its_drives_and_then_the_host(drives: int):
    size, settings = 2 * ELEMENTS, ("options.ssd_array.efficiency=0.8",)
    host_s = size / 32e9
    read_s, write_s = size / (drives * 6.5e9 * 0.8), size / (drives * 3.4e9 * 0.8)
    count = f"ssd.count={drives}"
    assert requests_s(1, count, *settings) == pytest.approx(read_s + host_s, rel=1e-3)
    assert requests_s(1, count, *settings, write=True) == pytest.approx(write_s + host_s, rel=1e-3)


def test_requests_follow_one_another():
    assert requests_s(3) == pytest.approx(3 * requests_s(1), rel=1e-3)


def test_without_a_host_path_the_drives_alone_count():
    fast = requests_s(1, "options.ssd_array.host_path=1 PB/s", "options.ssd_array.efficiency=1")
    # Each drive has its own four lanes.
    assert fast == pytest.approx(2 * ELEMENTS / 12 / 6.5e9, rel=1e-3)


def test_the_slowest_drive_holds_a_request_up():
    slow = array("ssd.count=2", "ssd1.flash.read=1 GB/s")
    even = array("ssd.count=2", "ssd.flash.read=1 GB/s")
    assert slow.read_bytes_per_s == even.read_bytes_per_s < array("ssd.count=2").read_bytes_per_s


def test_wrong_topologies_are_refused():
    with pytest.raises(BadTopology, match="'dgx_h100' has no drive for parameters"):
        DriveArray.of(load_topology("dgx_h100"))
    with pytest.raises(BadTopology, match=r"option ssd_array.host_path: .*fast"):
        array("options.ssd_array.host_path=fast")
    with pytest.raises(BadTopology, match=r"option ssd_array.efficiency is '0'; write a number above 0"):
        array("options.ssd_array.efficiency=0")
