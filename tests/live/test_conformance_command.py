"""A part of what ``scripts/conformance`` runs whole: every algorithm on real processes, and a wrong one is noticed."""

import importlib.util
import json
from dataclasses import replace
from pathlib import Path

import pytest

from controller.collectives.measure.conformance import names

pytestmark = pytest.mark.live

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "conformance_live.py"


@pytest.fixture(scope="module")
def command():
    spec = importlib.util.spec_from_file_location("conformance_live", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_algorithm_in_one_host(command, capsys):
    assert command.main(["--ranks", "3", "--spread", "one", "-d", "bf16", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["totals"]["nwrong"] == document["totals"]["calls_without_result"] == 0
    assert {row["algorithm"] for row in document["results"]} == set(names()) and document["refused"] == {}


def test_bytes_between_hosts(command, capsys):
    only = "all_reduce/ring,all_reduce/three_level,all_gather/doubling,all_to_all/hierarchical,attention/token_ring"
    assert command.main(["--ranks", "3", "--spread", "two,equal", "-d", "fp32,bf16", "--only", only]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[:4] for line in lines[1:3]] == [
        ["two", "two_dgx_h100", "3", "2"],
        ["equal", "h100_rail", "3", "3"],
    ]
    assert "#wrong 0, 0 calls without result" in lines[-1]
    assert any(line.startswith("# all_to_all/hierarchical does not run on 1 groups (two of 3)") for line in lines)


def test_a_plan_that_loses_an_op_is_noticed(command, capsys, monkeypatch):
    whole = command.suite

    def broken(*arguments, **words):
        found = whole(*arguments, **words)
        plan = found.checks[-1].entry.plan
        found.checks[-1].entry.plan = replace(plan, ops=plan.ops[:-1], after=plan.after[:-1])
        return found

    monkeypatch.setattr(command, "suite", broken)
    words = ["--ranks", "2", "--spread", "one", "-d", "int32", "--only", "all_gather/ring", "--json"]
    assert command.main(words) == 1
    document = json.loads(capsys.readouterr().out)
    wrong = [row["nwrong"] for row in document["results"]]
    assert wrong[:-1] == [0] * (len(wrong) - 1) and wrong[-1] > 0 and document["totals"]["nwrong"] == wrong[-1]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--ranks", "0"], "between 1 and 64"),
        (["--ranks", "5-2"], "between 1 and 64"),
        (["--ranks", "1-100"], "between 1 and 64"),
        (["-d", "fp8"], "fp32"),
        (["--only", "all_reduce/rign"], "all_reduce/ring"),
        (["--spread", "three"], "one, two, equal"),
        (["--seed", "-1"], "0 or more"),
    ],
)
def test_wrong_input_is_refused(command, words, said, capsys):
    with pytest.raises(SystemExit) as stopped:
        command.main(words)
    assert stopped.value.code == 2 and said in capsys.readouterr().err


def test_a_choice_that_runs_nowhere_is_no_success(command, capsys):
    assert command.main(["--ranks", "1", "--spread", "two"]) == 2
    assert "nothing that was asked for runs" in capsys.readouterr().err
