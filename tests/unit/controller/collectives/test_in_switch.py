"""Reduction and multicast in the switch: exact times, every link once, and clear words where a switch cannot."""

import pytest

from controller.cli.main import main
from controller.collectives.call import Call
from controller.collectives.choose.algorithm import choose
from controller.collectives.errors import BadCall
from controller.collectives.group import first_ranks, group_of
from controller.collectives.measure.calls import measure, prepare
from controller.collectives.protocol import PLAIN, as_seen, protocol_of
from controller.topology.loader import load_topology

A, B = 2e-6, 1 / 10e9
COUNT = 16 * 3 * 5 * 7 * 64
SIZE = 4 * COUNT
DGX = load_topology("dgx_h100")


def time_of(topology, entry):
    assert measure(topology, entry).ok
    return entry.time_s


@pytest.mark.parametrize("n", [2, 3, 4, 7, 8, 16])
def test_the_time_does_not_grow_with_the_ranks(n, box, group):
    """Every rank sends all data up once, or gets all of it down once: a hop and the bytes, whatever n is."""
    once = A + SIZE * B
    for collective in ("reduce_scatter", "all_gather"):
        entry = prepare(Call(collective, group(n), COUNT), "in_switch")
        assert time_of(box(n), entry) == pytest.approx(once, rel=1e-9)
    two_shot = prepare(Call("all_reduce", group(n), COUNT), "in_switch_two_shot")
    assert time_of(box(n), two_shot) == pytest.approx(2 * once, rel=1e-9)
    one_shot = prepare(Call("all_reduce", group(n), COUNT), "in_switch_one_shot")
    assert time_of(box(n), one_shot) == pytest.approx(A + n * SIZE * B, rel=1e-9)


@pytest.mark.parametrize("n", [2, 4, 8])
def test_each_link_carries_the_data_and_a_share_of_it(n, box, group):
    entry = prepare(Call("all_reduce", group(n), COUNT), "in_switch_two_shot")
    outcome = measure(box(n), entry)
    amounts = {use.name: use.amount for use in outcome.resources if use.kind == "link"}
    assert len(amounts) == 2 * n
    for amount in amounts.values():
        assert amount == pytest.approx(SIZE * (n + 1) / n, rel=1e-9)


def test_many_pieces_overlap_both_ways(box, group):
    """S up and S/n down while sums are read, the other way round while they are stored: (n + 1) / n S at the best."""
    times = []
    for pieces in (1, 8, 32):
        entry = prepare(Call("all_reduce", group(8), 1000 * COUNT, pieces=pieces), "in_switch_two_shot")
        times.append(time_of(box(8), entry))
    least = 1000 * SIZE * 9 / 8 * B
    assert least < times[2] < times[1] < times[0]
    assert times[2] == pytest.approx(least, rel=0.25)


def test_a_small_message_wants_one_shot_and_a_large_one_two(box, group):
    names = ("in_switch_one_shot", "in_switch_two_shot")
    for count, best in ((64, names[0]), (1 << 24, names[1])):
        assert choose(box(8), Call("all_reduce", group(8), count), names, (PLAIN,), 1).best.algorithm == best


def test_what_the_switch_cannot_add_is_refused_and_left_out_by_auto():
    int8 = Call("all_reduce", first_ranks(DGX, 8), 1024, "int8")
    with pytest.raises(BadCall, match="adds fp16, bf16, fp32, fp64, int32, int64, not int8"):
        prepare(int8, "nvls")
    assert choose(DGX, int8, ("nvls", "ring"), (PLAIN,)).best.algorithm == "ring"
    without = Call("all_reduce", first_ranks(load_topology("dgx_a100"), 8), 1024)
    with pytest.raises(BadCall, match="reduction: true or multicast: true"):
        prepare(without, "in_switch_two_shot")


def test_ranks_of_two_hosts_meet_in_no_switch_that_adds():
    two = load_topology("two_dgx_h100")
    assert group_of(two, ["gpu_a0", "gpu_b0"]).in_switch is None


def test_the_command_says_what_is_missing(capsys):
    words = ["all_reduce", "--topology", "dgx_a100", "--algorithm", "in_switch_two_shot", "-b", "1K", "-e", "1K"]
    assert main(["collective", *words]) == 2
    complaint = capsys.readouterr().err
    assert "reduction: true" in complaint and "Traceback" not in complaint


def test_the_pipeline_of_nvls_reaches_the_rate_that_nccl_expects():
    """0.85 x 18 x 20.6 x 15/16 GB/s each way over 9/8 of the data: 262.7 GB/s."""
    nvls, group = protocol_of(DGX, "nvls"), first_ranks(DGX, 8)
    seen = as_seen(DGX, group, nvls)
    times = [
        time_of(seen, prepare(Call("all_reduce", group, size // 2, "fp16", pieces=size >> 23), "nvls", nvls))
        for size in (1 << 28, 1 << 29)
    ]
    assert (1 << 28) / (times[1] - times[0]) == pytest.approx(262.7e9, rel=0.02)


def test_copies_of_the_channels_go_at_the_rate_of_the_protocol():
    nvls, group = protocol_of(DGX, "nvls"), first_ranks(DGX, 8)
    limits = {
        op.label: op.rate_limit_bytes_per_s
        for op in prepare(Call("all_reduce", group, 1 << 20), "nvls", nvls).plan.ops
        if hasattr(op, "destinations")
    }
    assert limits["scatter: copy in"] == limits["gather: copy out"] == nvls.rate_bytes_per_s
    assert limits["switch: reduce"] == limits["switch: multicast"] == 0
