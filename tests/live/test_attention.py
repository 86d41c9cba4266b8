"""Sequence-parallel attention on real node processes: every element counted."""

import json

import pytest

from controller.cli.main import main
from controller.collectives.attention.call import AttentionCall
from controller.collectives.attention.measure import prepare, program_of
from controller.collectives.attention.table import SCHEMES
from controller.collectives.group import first_ranks, only
from controller.execute.live import run_live
from controller.launch import launch
from controller.program.results import calls_of
from controller.topology.loader import load_topology

pytestmark = pytest.mark.live

SHAPES = (
    {"dtype": "fp32", "causal": True, "kv_heads": 2},
    {"dtype": "bf16", "causal": True, "kv_heads": 4, "batch": 2},
    {"dtype": "fp16", "causal": False, "kv_heads": 1},
)


@pytest.mark.parametrize("ranks", [1, 3, 4])
def test_no_element_is_wrong(ranks):
    """Every scheme with every type, masked and not, one cluster."""
    topology = load_topology("dgx_h100")
    group = first_ranks(topology, ranks)
    bare = only(topology, group)
    entries = [
        prepare(AttentionCall(group, 22 * ranks, heads=4, head_dim=16, **shape), name)
        for name in SCHEMES
        for shape in SHAPES
    ]
    with launch(bare) as cluster:
        outcome = run_live(bare, [program_of(entries, seed=ranks)], cluster)
    wrong = [call.wrong for call in calls_of(outcome.result)]
    assert len(wrong) == len(entries)
    assert [(entry.scheme, entry.call.dtype, n) for entry, n in zip(entries, wrong, strict=True) if n != 0] == []


def test_the_command_counts_wrong_elements(capsys):
    words = ["--topology", "a10_4", "--live", "--seq", "64", "--heads", "4", "--kv-heads", "2", "--head-dim", "8"]
    assert main(["attention", "zigzag", "token_ring", *words, "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert [(result["scheme"], result["nwrong"]) for result in document["results"]] == [
        ("zigzag", 0),
        ("token_ring", 0),
    ]
