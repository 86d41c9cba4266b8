"""Stripes over drives, and what a request for them takes."""

import numpy as np
import pytest

from controller.errors import BadTopology
from controller.execute.virtual import run_virtual
from controller.plan.build import PlanBuilder
from controller.plan.ops import Buffer
from controller.strategies.fuyou.array import DriveArray
from controller.topology.loader import load_topology

ELEMENTS = 12_000_000_000


def array(*overrides: str) -> DriveArray:
    return DriveArray.of(load_topology("server_4090", overrides))


def requests_s(count: int, *overrides: str, write: bool = False) -> float:
    """Time of so many requests for 24 GB, one after the other [s]."""
    topology = load_topology("server_4090", overrides)
    drives = DriveArray.of(topology)
    tensor, build = drives.tensor("t", "fp16", ELEMENTS), PlanBuilder("requests")
    places = [Buffer("cpu", "dram", f"place{number}", "fp16", (ELEMENTS,)) for number in range(count)]
    drives.begin()
    for place in places:
        (drives.write if write else drives.read)(build, tensor, place, "request")

    def program(run):
        drives.place(run, tensor)
        for place in places:
            run.place(place, written=True)
        yield run.submit(build.plan())

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


@pytest.mark.parametrize("elements", [1, 7, 12, 13, 1000])
def test_stripes_cover_a_tensor_once(elements: int):
    tensor = array("ssd.count=5").tensor("t", "fp32", elements)
    whole = np.arange(elements, dtype=np.float32)
    pieces = [tensor.content(index, whole)() for index in range(len(tensor.stripes))]
    np.testing.assert_array_equal(np.concatenate(pieces), whole)
    assert [piece.size for piece in pieces] == [stripe.shape[0] for stripe in tensor.stripes]
    assert len({stripe.device for stripe in tensor.stripes}) == len(tensor.stripes) == min(5, elements)
    flat = Buffer("cpu", "dram", "flat", "fp32", (elements,))
    assert [tensor.part(index, flat).offset_bytes for index in range(len(pieces))] == [4 * s for s in tensor.starts]
    assert tensor.nbytes == 4 * elements


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
