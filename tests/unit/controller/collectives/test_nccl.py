"""NCCL's choice: its formula over its tables, worked out by hand, and only where a topology says how NCCL sees it."""

import pytest

from controller.cli.main import main
from controller.collectives.call import Call
from controller.collectives.choose.nccl import choose_nccl, estimates, library_of, nvls_loop_bytes
from controller.collectives.errors import BadCall
from controller.collectives.group import first_ranks
from controller.topology.loader import load_topology

H100, A100 = load_topology("dgx_h100"), load_topology("dgx_a100")
MB = 1 << 20


def picked(topology, size, dtype="fp16", collective="all_reduce", ranks=8):
    call = Call(collective, first_ranks(topology, ranks), size // {"fp16": 2, "int8": 1}[dtype], dtype)
    best = choose_nccl(topology, call).best
    return best.algorithm, best.protocol


def expected_us(topology, size, algorithm, protocol, dtype="fp16", collective="all_reduce"):
    call = Call(collective, first_ranks(topology, 8), size // {"fp16": 2, "int8": 1}[dtype], dtype)
    found = estimates(library_of(topology), call)
    return next(each.time_s for each in found if (each.algorithm, each.protocol) == (algorithm, protocol)) * 1e6


@pytest.mark.parametrize(
    ("algorithm", "protocol", "by_hand"),
    [
        ("ring", "ll", 6.6 + 14 * 0.6 + MB / (141e3 * 8 / 14)),
        ("ring", "ll128", 14.0 + 14 * 1.9 + MB / (370.8e3 * 0.92 * 8 / 14)),
        ("ring", "simple", 8.4 + 14 * 3.4 + MB / (370.8e3 * 8 / 14)),
        ("double_binary_tree", "ll", 6.8 + 14 * 0.6 + MB / (370.8e3 * 0.92 / 3.8 * 0.5 * 0.5)),
        ("nvls", "nvls", 25.0 + MB / (370.8e3 * 0.85 * 5 / 6)),
    ],
)
def test_its_estimates_by_hand(algorithm, protocol, by_hand):
    assert expected_us(H100, MB, algorithm, protocol) == pytest.approx(by_hand, rel=1e-9)


def test_a_reduce_scatter_goes_round_once():
    by_hand = 6.6 + 7 * 0.6 + MB / (141e3 * 8 / 7)
    assert expected_us(H100, MB, "ring", "ll", collective="reduce_scatter") == pytest.approx(by_hand, rel=1e-9)


def test_it_picks_by_size_and_type():
    assert picked(H100, 1024) == ("ring", "ll")
    assert picked(H100, 64 * MB) == ("nvls", "nvls")
    assert picked(H100, 16 * MB, "int8") == ("ring", "ll128")
    assert picked(H100, 64 * MB, "int8") == ("ring", "simple")
    assert picked(A100, 64 * MB) == ("ring", "simple")
    assert picked(H100, MB, ranks=1) == ("ring", "simple")


@pytest.mark.parametrize(
    ("size", "loop"), [(2 * MB, 2 * MB), (8 * MB, 4 * MB), (63 * MB, 4 * MB), (64 * MB, 8 * MB), (1024 * MB, 16 * MB)]
)
def test_loops_of_nvls_grow_with_the_message(size, loop):
    assert nvls_loop_bytes(size, 16, 8) == loop


def test_the_reason_names_what_it_expects_of_the_next():
    call = Call("all_reduce", first_ranks(H100, 8), 32 * MB, "fp16")
    assert choose_nccl(H100, call).reason == ("NCCL 2.27 expects 280.5 us of it; next is ring/simple with 372.7 us")


def test_a_topology_must_say_how_nccl_sees_it():
    call = Call("all_reduce", first_ranks(load_topology("l40s_8"), 4), 64)
    with pytest.raises(BadCall, match=r"declares no options nccl\.\*"):
        choose_nccl(load_topology("l40s_8"), call)
    for override, said in (
        ("options.nccl.version=2.99", "no tables of NCCL '2.99'; there are 2.21, 2.27"),
        ("options.nccl.generation=pascal", "no generation 'pascal'"),
        ("options.nccl.channels=many", "'many' channels"),
        ("options.nccl.channel_rate=3", "nccl"),
    ):
        with pytest.raises(BadCall, match=said):
            library_of(load_topology("dgx_h100", [override]))


def test_what_nccl_makes_no_choice_for():
    with pytest.raises(BadCall, match="one way for broadcast"):
        choose_nccl(H100, Call("broadcast", first_ranks(H100, 8), 64))


def test_the_command_takes_its_choice(capsys):
    words = ["collective", "all_reduce", "-b", "1K", "-e", "4M", "-f", "4096", "-d", "half", "--algorithm", "nccl"]
    assert main(words) == 0
    said = [line for line in capsys.readouterr().out.splitlines() if "expects" in line]
    assert [line.split(",")[0] for line in said] == ["# ring/ll", "# nvls/nvls"]
    assert main([*words, "--pieces", "2"]) == 2
    assert "NCCL picks protocol and pieces itself" in capsys.readouterr().err
