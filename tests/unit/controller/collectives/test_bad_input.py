"""Wrong questions are answered with a sentence that says what to do, and exit code 2."""

import pytest

from controller.cli.main import main
from controller.collectives.call import Call
from controller.collectives.errors import BadCall, BadGroup, UnknownAlgorithm
from controller.collectives.group import first_ranks, group_of, only
from controller.collectives.measure.sizes import parse_size, sizes_between
from controller.collectives.protocol import protocols_of
from controller.collectives.table import algorithm, algorithms
from controller.topology.loader import load_topology

DGX = load_topology("dgx_h100")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["all_reduce", "--algorithm", "rign"], "did you mean 'ring'?"),
        (["al_reduce"], "did you mean 'all_reduce'?"),
        (["all_reduce", "--ranks", "9"], "has 8 devices of kind gpu"),
        (["all_reduce", "--ranks", "0"], "at least 1"),
        (["all_reduce", "--devices", "gpu0,gpu1,gpu0"], "rank 0 and rank 2"),
        (["all_reduce", "--devices", "gpu0,gpu9"], "no device 'gpu9'"),
        (["all_reduce", "--devices", "gpu0", "--ranks", "1"], "give one of them"),
        (["all_reduce", "-b", "0"], "nothing to send"),
        (["all_reduce", "-b", "7", "-e", "7"], "no whole number of fp32"),
        (["all_reduce", "-b", "1x"], "not a size"),
        (["all_reduce", "-b", "1M", "-e", "1K"], "below the beginning"),
        (["all_reduce", "-f", "1"], "never ends"),
        (["all_reduce", "-d", "fp8"], "no element type"),
        (["all_reduce", "--protocol", "ll129"], "did you mean 'll128'?"),
        (["all_reduce", "--pieces", "0"], "at least 1"),
        (["all_reduce", "--pieces", "1000000"], "at most 256"),
        (["all_reduce", "--seed", "-1"], "a seed of -1"),
        (["broadcast", "-r", "8", "-e", "8"], "not a rank"),
        (["all_reduce", "--topology", "dgx_h10"], "dgx_h100"),
    ],
)
def test_the_command_line_says_what_is_wrong(words, said, capsys):
    assert main(["collective", *words]) == 2
    complaint = capsys.readouterr().err
    assert said in complaint and "Traceback" not in complaint


def test_groups():
    with pytest.raises(BadGroup, match="at least one"):
        group_of(DGX, [])
    with pytest.raises(BadGroup, match="no compute queue"):
        group_of(load_topology("a6000_ssd"), ["ssd0"])
    assert first_ranks(DGX, None).devices == tuple(f"gpu{rank}" for rank in range(8))
    assert first_ranks(load_topology("edge_star"), 2).tiers == ("dram", "dram")


def test_a_topology_without_the_others_has_the_same_routes():
    less = only(DGX, first_ranks(DGX, 2))
    assert list(less.devices) == ["gpu0", "gpu1"]
    assert {end.vertex for link in less.links for end in (link.a, link.b)} == {"gpu0", "gpu1", "nvswitch", "root"}


def test_calls(group):
    for wrong in ({"count": 0}, {"dtype": "bool"}, {"root": 4}, {"pieces": 0}):
        with pytest.raises(BadCall):
            Call("all_reduce", group(4), **{"count": 4, **wrong})
    with pytest.raises(BadCall, match="no in-place form"):
        Call("all_to_all", group(4), 4, in_place=True)


def test_names():
    with pytest.raises(UnknownAlgorithm, match="halving_doubling"):
        algorithm("all_reduce", "halving-doubling")
    with pytest.raises(UnknownAlgorithm):
        algorithms("gather")


@pytest.mark.parametrize(("text", "size"), [("8", 8), ("1k", 1024), ("64K", 65536), ("1M", 1 << 20), ("8G", 8 << 30)])
def test_sizes(text, size):
    assert parse_size(text) == size


def test_ranges_of_sizes():
    assert sizes_between(8, 64, "fp32") == (8, 16, 32, 64)
    assert sizes_between(8, 63, "fp32", factor=4) == (8, 32)
    assert sizes_between(4, 12, "fp32", step=4) == (4, 8, 12)
    with pytest.raises(BadCall, match="more than 1000"):
        sizes_between(4, 1 << 30, "fp32", step=4)


def test_protocols_must_be_whole():
    assert [protocol.name for protocol in protocols_of(DGX)] == ["ll", "ll128", "simple", "nvls", "multimem"]
    assert [protocol.name for protocol in protocols_of(load_topology("edge_star"))] == ["plain"]
    broken = load_topology("dgx_h100", ["options.collective.ll.hop=3"])
    with pytest.raises(BadCall, match=r"collective\.ll\.hop"):
        protocols_of(broken)


def test_an_algorithm_says_once_why_it_does_not_run(capsys):
    assert main(["collective", "all_reduce", "--ranks", "2", "-b", "1T", "-e", "1T", "--algorithm", "ring,star"]) == 2
    complaint = capsys.readouterr().err
    assert complaint.count("ring: OOM") == complaint.count("star: OOM") == 1
