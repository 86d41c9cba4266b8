"""Collectives on real node processes: every element counted."""

import json

import pytest

from controller.cli.main import main
from controller.collectives.call import NO_IN_PLACE, Call
from controller.collectives.group import first_ranks, only
from controller.collectives.measure.calls import note_wrong, prepare, program_of
from controller.collectives.table import COLLECTIVES
from controller.execute.live import run_live
from controller.launch import launch
from controller.topology.loader import load_topology

pytestmark = pytest.mark.live

ENTRIES = [(collective, name) for collective, names in COLLECTIVES.items() for name in names]


@pytest.mark.parametrize("ranks", [3, 4])
def test_no_element_is_wrong(ranks):
    """Every algorithm, one cluster: uneven sizes, four types, in and out of place."""
    topology = load_topology("dgx_h100")
    group = first_ranks(topology, ranks)
    bare = only(topology, group)
    entries = []
    for index, (collective, name) in enumerate(ENTRIES):
        dtype = ("fp32", "bf16", "int32", "fp16")[index % 4]
        for in_place in (False,) if collective in NO_IN_PLACE else (False, True):
            call = Call(
                collective, group, 1 if collective == "barrier" else 1021, dtype, in_place, pieces=1 + index % 2
            )
            entries.append(prepare(call, name))
    with launch(bare) as cluster:
        note_wrong(entries, run_live(bare, [program_of(entries)], cluster))
    assert {f"{entry.plan.name}": entry.wrong for entry in entries if entry.wrong} == {}
    assert all(entry.wrong == 0 for entry in entries)


def test_the_command_counts_wrong_elements(capsys):
    words = ["all_reduce", "--topology", "dgx_h100", "--ranks", "2", "--live", "-b", "1K", "-e", "64K", "-f", "8"]
    assert main(["collective", *words, "--algorithm", "ring", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    counts = [row[side]["nwrong"] for row in document["results"] for side in ("out_of_place", "in_place")]
    assert counts == [0] * 6 and document["out_of_bounds"] == 0


def test_a_paced_run_says_both_times(capsys):
    words = ["all_reduce", "--ranks", "2", "--live", "--pace", "2000", "-b", "64K", "-e", "64K", "--algorithm", "ring"]
    assert main(["collective", *words, "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    paced = document["paced"]
    assert paced["dilation"] == 2000 and document["out_of_bounds"] == 0
    # A machine that is too slow only ever makes it longer.
    assert paced["paced_s"] >= 0.9 * paced["virtual_s"] > 0
