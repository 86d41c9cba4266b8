"""Closed forms: what one op takes, and what two take that share something. See conftest.py for the numbers."""

import pytest
from pytest import approx

from controller.plan.build import PlanBuilder
from controller.plan.ops import Buffer, View
from controller.plan.size import symbol

US, MS = 1e-6, 1e-3
MB = 1_000_000
EXACT = 1e-12


def on(device: str, name: str, size: int = 10 * MB) -> Buffer:
    """A buffer of `size` bytes in the device's only tier."""
    tier = {"c": "dram", "d": "flash"}.get(device[0], "hbm")
    return Buffer(device, tier, name, "fp32", (size // 4,))


def near(expected: float):
    return approx(expected, rel=EXACT, abs=1e-15)


def copy(build: PlanBuilder, label: str, device: str = "gpu0", queue: str = "", size: int = 10 * MB) -> None:
    """Reads and writes `size` bytes of HBM at 100 GB/s each: 0.1 ms for 10 MB."""
    build.kernel(
        "copy", device, [on(device, label, size)], [on(device, f"{label}.out", size)], queue=queue, label=label
    )


def send(build: PlanBuilder, label: str, source: str = "gpu0", target: str = "cpu", size: int = 10 * MB, **options):
    """Over two links of 10 GB/s and 1 us each: 2 us + 1 ms for 10 MB."""
    return build.transfer(on(source, f"{label}.from", size), on(target, f"{label}.to", size), label=label, **options)


def test_one_transfer_takes_latency_and_bytes_over_bandwidth(timed) -> None:
    build = PlanBuilder("one")
    send(build, "x")
    outcome, _ = timed(build.plan())
    assert outcome.time_s == near(2 * US + 10 * MB / 10e9)


def test_two_transfers_share_a_link_and_the_rest_goes_on_alone(timed) -> None:
    build = PlanBuilder("two")
    send(build, "short", size=10 * MB)
    send(build, "long", size=30 * MB)
    _, spans = timed(build.plan())
    assert spans["short"][1] == near(2 * US + 20 * MB / 10e9)
    assert spans["long"][1] == near(2 * US + 40 * MB / 10e9)


def test_the_two_directions_of_a_link_are_independent(timed) -> None:
    build = PlanBuilder("both ways")
    send(build, "out")
    send(build, "back", "cpu", "gpu0")
    _, spans = timed(build.plan())
    assert spans["out"][1] == spans["back"][1] == near(2 * US + 1 * MS)


def test_two_pairs_share_only_what_both_pass(timed) -> None:
    """gpu0 -> cpu and gpu0 -> gpu1 leave through one link; gpu1 -> cpu enters the cpu with the first."""
    build = PlanBuilder("triangle")
    send(build, "a", "gpu0", "cpu", size=10 * MB)
    send(build, "b", "gpu0", "gpu1", size=20 * MB)
    send(build, "c", "gpu1", "cpu", size=20 * MB)
    _, spans = timed(build.plan())
    assert spans["a"][1] == near(2 * US + 2 * MS)
    assert spans["b"][1] == spans["c"][1] == near(2 * US + 2 * MS + 1 * MS)


def test_a_copy_within_a_device_passes_no_link(timed) -> None:
    build = PlanBuilder("local")
    send(build, "x", "gpu0", "gpu0")
    assert timed(build.plan())[0].time_s == near(10 * MB / 100e9)


def test_reading_and_writing_a_simplex_tier_add_up(timed) -> None:
    """8 GB/s of reads and 2 GB/s of writes on one bus, at one rate r: r/8 + r/2 = 1, r = 1.6 GB/s; reads wait 100 us
    before, in which the write goes on at its 2 GB/s."""
    build = PlanBuilder("simplex")
    send(build, "read", "drive", "cpu", size=8 * MB)
    send(build, "write", "cpu", "drive", size=8 * MB)
    _, spans = timed(build.plan())
    written = 100 * US * 2e9
    together = (8 * MB - written) / 1.6e9
    assert spans["write"][1] == near(102 * US + together)
    assert spans["read"][1] == near(102 * US + together + (8 * MB - together * 1.6e9) / 8e9)


def test_a_software_path_limits_a_transfer(timed) -> None:
    build = PlanBuilder("limited")
    send(build, "slow", rate_limit_bytes_per_s=1e9)
    send(build, "fast")
    _, spans = timed(build.plan())
    assert spans["slow"][1] == near(2 * US + 10 * MB / 1e9)
    assert spans["fast"][1] == near(2 * US + 10 * MB / 9e9)


def test_a_multicast_ends_at_every_destination(timed) -> None:
    build = PlanBuilder("multicast")
    parts = [on("cpu", "a"), on("gpu1", "b")]
    build.transfer(on("gpu0", "x"), parts, label="x")
    build.kernel("copy", "cpu", [parts[0]], [on("cpu", "c")], label="use")
    outcome, spans = timed(build.plan())
    assert spans["use"][0] == near(2 * US + 20 * MB / 10e9)
    assert outcome.time_s == spans["use"][1] == near(2 * US + 2 * MS + 10 * MB / 50e9)


def test_copies_of_a_queue_take_turns(timed) -> None:
    build = PlanBuilder("queue")
    send(build, "first", queue="copy")
    send(build, "second", queue="copy")
    _, spans = timed(build.plan())
    assert spans["first"][1] == near(2 * US + 1 * MS)
    assert spans["second"] == (spans["first"][1], near(2 * (2 * US + 1 * MS)))


def test_a_kernel_bound_by_memory_and_one_bound_by_arithmetic(timed) -> None:
    """1000 x 1000 fp32: 4 MB each of x, w and out; 2e9 FLOP at 1e12 are 2 ms, longer than 8 MB of reads."""
    build = PlanBuilder("alone")
    copy(build, "copy")
    square = [Buffer("gpu0", "hbm", name, "fp32", (1000, 1000)) for name in "xwy"]
    build.kernel("linear", "gpu0", square[:2], square[2:], label="gemm")
    _, spans = timed(build.plan())
    assert spans["copy"] == (0, near(10 * MB / 100e9))
    assert spans["gemm"][1] - spans["gemm"][0] == near(2 * MS)


def test_kernels_of_a_queue_take_turns_and_queues_run_side_by_side(timed) -> None:
    build = PlanBuilder("queues")
    copy(build, "first")
    copy(build, "second")
    build.kernel("delay", "gpu0", [], [], queue="side", seconds=0.15 * MS, label="beside")
    _, spans = timed(build.plan())
    assert spans["first"] == (0, near(0.1 * MS))
    assert spans["second"] == (spans["first"][1], near(0.2 * MS))
    assert spans["beside"] == (0, near(0.15 * MS))


def test_a_queue_keeps_program_order_also_where_the_second_could_start_first(timed) -> None:
    build = PlanBuilder("in order")
    send(build, "arrive", "cpu", "gpu0")
    build.kernel("copy", "gpu0", [on("gpu0", "arrive.to")], [on("gpu0", "out")], label="needs it")
    copy(build, "could.go")
    _, spans = timed(build.plan())
    assert spans["needs it"][0] == near(2 * US + 1 * MS)
    assert spans["could.go"][0] == spans["needs it"][1]


def test_one_gemm_beside_one_copy_share_the_memory(timed, toy) -> None:
    """A GEMM of 8 MB reads and 4 MB writes beside a transfer that reads HBM through links of 1 TB/s.

    Alone the GEMM takes 2 ms (arithmetic), so it flows at 12 MB / 2 ms = 6 GB/s of which two thirds are reads: 4 GB/s.
    With a memory of 10 GB/s the transfer gets the other 6 GB/s. With one of 6 GB/s both ask for more than there is: the
    rates are equal, r + 2/3 r = 6, r = 3.6 GB/s: the GEMM slows down by 6 / 3.6 while the transfer is there.
    """
    links = [link.name for link in toy().links if link.name.startswith(("cpu", "gpu0"))]
    wide = tuple(f"link.{name}.bandwidth=1 TB/s" for name in links)

    def both(read: str):
        build = PlanBuilder("gemm beside copy")
        square = [Buffer("gpu0", "hbm", name, "fp32", (1000, 1000)) for name in "xwy"]
        build.kernel("linear", "gpu0", square[:2], square[2:], label="gemm")
        send(build, "copy", size=6 * MB)
        return timed(build.plan(), toy(*wide, f"gpu.hbm.read={read}", "cpu.dram.write=1 TB/s"))[1]

    spans = both("10 GB/s")
    assert spans["copy"][1] == near(2 * US + 6 * MB / 6e9)
    assert spans["gemm"][1] == near(2 * MS)

    spans = both("6 GB/s")
    together = (6 * MB) / 3.6e9
    assert spans["copy"][1] == near(2 * US + together)
    moved = 2 * US * 6e9 + together * 3.6e9
    assert spans["gemm"][1] == near(2 * US + together + (12 * MB - moved) / 6e9)


def test_the_host_runs_ahead_of_long_kernels(timed) -> None:
    """Launch 10 us each; start on the device 1 us, then 100 us of copying: only the first launch is seen."""
    build = PlanBuilder("ahead")
    for index in range(5):
        copy(build, f"k{index}", "eager")
    outcome, spans = timed(build.plan())
    assert spans["k0"] == (near(10 * US), near(111 * US))
    assert outcome.time_s == near(10 * US + 5 * 101 * US)


def test_the_host_is_what_short_kernels_wait_for(timed) -> None:
    """1 us to start and 1 us of copying, beside a launch of 10 us each."""
    build = PlanBuilder("behind")
    for index in range(5):
        copy(build, f"k{index}", "eager", size=100_000)
    outcome, spans = timed(build.plan())
    assert spans["k3"] == (near(40 * US), near(42 * US))
    assert outcome.time_s == near(5 * 10 * US + 2 * US)


def test_launching_does_not_wait_for_data(timed) -> None:
    """The second kernel needs the first, 101 us later: its launch was over long before."""
    build = PlanBuilder("data")
    build.kernel("copy", "eager", [on("eager", "a")], [on("eager", "b")], label="k0")
    build.kernel("copy", "eager", [on("eager", "b")], [on("eager", "c")], label="k1")
    _, spans = timed(build.plan())
    assert spans["k1"][0] == spans["k0"][1]


@pytest.mark.parametrize("rows", [1, 5, 1000])
def test_open_sizes_cost_what_closed_ones_do(timed, rows: int) -> None:
    a, b = (Buffer("gpu0", "hbm", name, "fp32", (1000, 1000)) for name in "ab")
    far = Buffer("cpu", "dram", "c", "fp32", (1000, 1000))
    build = PlanBuilder("open")
    open_views = [View(buffer, 0, (symbol("n"), 1000)) for buffer in (a, b, far)]
    build.kernel("copy", "gpu0", open_views[:1], open_views[1:2], label="kernel")
    build.transfer(open_views[1], open_views[2], label="transfer")
    _, spans = timed(build.plan(), n=rows)
    moved = rows * 4000
    assert spans["kernel"][1] == near(moved / 100e9)
    assert spans["transfer"][1] == near(moved / 100e9 + 2 * US + moved / 10e9)


def test_nothing_takes_no_time(timed) -> None:
    assert timed(PlanBuilder("nothing").plan())[0].time_s == 0.0
