"""The chooser above so many ranks that plans are too large, and its command line."""

import json

import pytest

from controller.cli.main import main
from controller.collectives.call import Call
from controller.collectives.choose.bulk import BulkChooser
from controller.collectives.errors import BadCall
from controller.collectives.group import first_ranks
from controller.collectives.protocol import protocols_of
from controller.topology.loader import load_topology

WORDS = ["collective", "all_reduce", "--topology", "two_dgx_h100", "--algorithm", "ring,hierarchical", "-b", "1M",
         "-e", "4M"]  # fmt: skip


@pytest.fixture(scope="module")
def chooser():
    topology = load_topology("two_dgx_h100")
    return BulkChooser(topology, first_ranks(topology, 16), protocols_of(topology))


def test_it_names_what_it_left_out(chooser):
    topology = load_topology("two_dgx_h100")
    call = Call("all_reduce", first_ranks(topology, 16), 1 << 18)
    choice = chooser.choose(call, ("ring", "tree", "hierarchical"))
    assert choice.best.algorithm == "hierarchical" and choice.others[0].algorithm == "ring"
    assert "left out: without a bulk form tree" in choice.reason
    assert choice.best.time_s < choice.others[0].time_s


def test_nothing_left_is_an_error(chooser):
    topology = load_topology("two_dgx_h100")
    with pytest.raises(BadCall, match="without a bulk form tree, star"):
        chooser.choose(Call("all_reduce", first_ranks(topology, 16), 64), ("tree", "star"))


def test_the_table_is_that_of_plans(capsys):
    tables = []
    for words in (["--bulk"], ["--no-bulk"]):
        assert main([*WORDS, "--protocol", "ll", "--pieces", "2", *words]) == 0
        tables.append([line for line in capsys.readouterr().out.splitlines() if not line.startswith("#")])
    assert tables[0] == tables[1] and len(tables[0]) == 3


def test_above_some_ranks_it_is_the_default(capsys):
    words = ["collective", "all_reduce", "--topology", "dgx_h100", "--set", "gpu.count=2048", "--algorithm", "ring",
             "--protocol", "plain", "-b", "1G", "-e", "1G", "--json"]  # fmt: skip
    assert main(words) == 0
    (row,) = json.loads(capsys.readouterr().out)["results"]
    assert "transfers in bulk" in row["why"]
    assert row["out_of_place"]["time"] == pytest.approx(row["in_place"]["time"]) and row["out_of_place"]["time"] > 0


def test_bulk_with_live_is_refused(capsys):
    assert main([*WORDS, "--bulk", "--explain"]) == 2
    assert "--bulk makes no plan" in capsys.readouterr().err
