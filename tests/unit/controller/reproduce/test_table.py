"""The papers: every row names runs that exist, and every request can be prepared."""

from dataclasses import replace

import pytest

from controller.experiment.virtual import prepare, virtual_scenario
from controller.reproduce.rows import PublishedRow
from controller.reproduce.runner import reproduce, run_kept_requests
from controller.reproduce.table import PAPERS, UnknownPaper, load_paper


def test_unknown_names_come_with_the_nearest() -> None:
    with pytest.raises(UnknownPaper, match="did you mean 'instinfer'"):
        load_paper("instinfre")
    with pytest.raises(UnknownPaper, match="there are instinfer"):
        load_paper("zzz")


@pytest.mark.parametrize("name", PAPERS)
def test_rows_name_runs_and_runs_can_be_prepared(name: str) -> None:
    paper = load_paper(name)
    assert paper.name == name
    for row in paper.rows:
        assert set(row.runs) <= set(paper.runs), row
        assert row.mark in {"P", "PF", "PX", "A", "R", "S", "M", "D"}
        assert row.published
    used = {key for row in paper.rows for key in row.runs}
    assert used == set(paper.runs), f"runs that no row uses: {set(paper.runs) - used}"
    for request in paper.runs.values():
        strategy, topology, shape = prepare(request)
        virtual_scenario(request, strategy, topology, shape)


@pytest.mark.parametrize("name", PAPERS)
def test_a_row_stands_once_and_keys_have_no_spaces(name: str) -> None:
    rows = load_paper(name).rows
    named = [(row.table, row.quantity, *row.row.items()) for row in rows]
    assert len(named) == len(set(named))
    for row in rows:
        assert not any(" " in f"{key}{value}" for key, value in row.row.items()), row.row


DECLARED_FROM_ROWS = {
    "cloudmatrix384": "a fixed cost an operator at EP 8, and the rates inside of a node",
    "fuyou": "the drive array, and the main memory of ZeRO-Infinity, each read off a row of its own",
    "cxl": "the rates of memory, card and link, each read off its longest row",
    "faults": "the rates of failures themselves",
    "c4": "crashes, and what each costs, of both months: all but the shape",
}
"""Papers of which several rows are inputs; their knob names them all."""


@pytest.mark.parametrize("name", PAPERS)
def test_no_more_than_one_row_sets_a_knob(name: str) -> None:
    paper = load_paper(name)
    calibrating = sum(row.calibration for row in paper.rows)
    if name in DECLARED_FROM_ROWS:
        assert 1 < calibrating < len(paper.rows) / (1 if name == "c4" else 2)
    else:
        assert calibrating == bool(paper.knob)
    assert all(row.tolerance is None for row in paper.rows if row.calibration)


SAME_AS_PLAIN = ("fuyou", "cxl", "faults", "c4")
"""Papers whose knob the topology and sheets declare, so that a plain run has it too."""


@pytest.mark.parametrize("name", PAPERS)
def test_a_knob_that_a_plain_run_lacks_is_said_with_the_way_to_set_it(name: str) -> None:
    paper = load_paper(name)
    assert bool(paper.plain) == (bool(paper.knob) and name not in SAME_AS_PLAIN)


def test_the_headline_of_instinfer_stands_beside_the_one_of_a_plain_run() -> None:
    from controller.cli.reproduction_summary import verdict

    paper = load_paper("instinfer")
    plain = paper.runs["instinfer/256/stated"]
    assert plain.effective_context is None
    assert paper.runs["instinfer/256"] == replace(plain, effective_context=440.0)
    (row,) = (row for row in paper.rows if row.runs == ("instinfer/256/stated",))
    assert (row.row["context_tokens"], row.tolerance) == ("1536", None)
    assert "--effective-context 440" in verdict(paper, ())


def test_results_do_not_depend_on_how_many_processes_made_them() -> None:
    paper = load_paper("instinfer")
    small = {
        key: replace(
            paper.runs[key], model="tiny-opt", batch=batch, prompt_tokens=16, output_tokens=4, effective_context=None
        )
        for key, batch in (("instinfer/4", 2), ("flexgen/4", 3), ("deepspeed/4", 1))
    }
    told = []
    alone = run_kept_requests(small, None, lambda *what: told.append(what), 1)
    assert told == [(1, 3, "instinfer/4"), (2, 3, "flexgen/4"), (3, 3, "deepspeed/4")]
    assert run_kept_requests(small, None, None, 2) == alone
    rows = tuple(
        PublishedRow(
            "t", {"run": key}, "throughput", 1.0, "tokens/s", "P", lambda results, key=key: results[key].time_s, (key,)
        )
        for key in small
    )
    compared = reproduce(replace(paper, runs=small, rows=rows), processes=1)
    assert [row.ours for row in compared] == [alone[key].time_s for key in small]
