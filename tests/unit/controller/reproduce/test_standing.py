"""Medians over all numeric rows, identities that count nowhere, and what a model that knows nothing would reach."""

import json
from dataclasses import replace
from math import inf

import pytest

from controller.cli.main import main
from controller.cli.reproduction_summary import far_line, row_documents, summary_cells, summary_documents, verdict
from controller.reproduce.far_off import UNKNOWN, far_off
from controller.reproduce.null_models import null_models
from controller.reproduce.rows import Paper, PublishedRow, compare, identities
from controller.reproduce.standing import standing
from controller.reproduce.table import PAPERS, load_paper


def row(published, ours, tolerance=None, table="t", **fields) -> PublishedRow:
    keys = fields.pop("keys", {"batch": 1})
    return PublishedRow(table, keys, "time", published, "s", "P", lambda _: ours, (), tolerance, **fields)


def stand(*rows: PublishedRow):
    paper = Paper("paper", "A paper", {}, rows, knob="a knob")
    return standing(paper, [compare(paper, each, {}) for each in rows])


def test_the_median_is_over_all_numeric_rows():
    stands = stand(
        row(10.0, 10.5, 0.10),  # 5 %, met
        row(10.0, 14.0, 0.10),  # 40 %, missed
        row(10.0, 40.0),  # 300 %, printed only
        row(10.0, 99.0, calibration=True),
        row(10.0, 10.0, 0.0, identity=True),
        row("OOM", "OOM at gpu", 0.0),
    )
    assert (stands.met, stands.targets, stands.target_median) == (2, 3, pytest.approx(0.225))
    assert (stands.rows, stands.median, stands.outside) == (3, pytest.approx(0.4), 2)
    assert (stands.calibration, stands.identity) == (1, 1)


def test_a_number_that_we_cannot_give_is_the_farthest_of_all():
    assert stand(row(10.0, 10.0), row(10.0, "not modelled")).median == inf
    three = stand(row(10.0, 10.0), row(10.0, 11.0), row(10.0, "not modelled"))
    assert (three.median, three.outside) == (pytest.approx(0.1), 1)
    assert summary_cells(stand(row(10.0, "no")))[3] == "no value"
    assert stand(row("yes", "yes", 0.0)).median is None


def test_an_identity_must_hold_and_counts_nowhere():
    paper = Paper("paper", "A paper", {}, tuple(identities([row(10.0, 10.0, 0.01), row(10.0, 12.0, 0.01)])))
    good, bad = (compare(paper, each, {}) for each in paper.rows)
    assert (good.ok, good.holds, bad.ok, bad.holds) == (None, True, None, False)
    assert standing(paper, (good, bad)).targets == 0
    assert "BROKEN" not in verdict(paper, (good, bad))  # it stands beside the row


def column(values, tolerance, **keys):
    return [row(value, value, tolerance, keys={**keys, "ep": number}) for number, value in enumerate(values)]


def test_a_table_that_its_own_mean_predicts_says_nothing():
    flat, steep = column((116.0, 133.0, 152.0), 0.25), column((30.0, 100.0, 1000.0), 0.20)
    (null,) = null_models(flat)
    # The geometric mean is 132.9: 14.5, 0.1 and 12.6 % off.
    assert null.error == pytest.approx(0.126, abs=1e-3) and not null.informative
    (null,) = null_models(steep)
    assert null.error > 0.4 and null.informative
    assert null_models(column((116.0, 133.0, 152.0), 0.15)) == ()


def test_columns_are_those_of_the_words_of_a_row():
    both = column((10.0, 11.0, 12.0), 0.2, system="a") + column((1000.0, 1100.0, 1200.0), 0.2, system="b")
    (null,) = null_models(both)
    assert null.rows == 6 and null.error < 0.1
    # Two rows of a kind are their own mean, so the quantity is taken as a whole.
    few = column((10.0, 11.0), 0.2, system="a") + column((1000.0, 1100.0), 0.2, system="b")
    (null,) = null_models(few)
    assert null.error > 0.5
    (null,) = null_models(column((10.0, 11.0), 0.2, system="a"))
    assert null.error is None and null.informative


def test_identities_and_calibration_are_no_rows_of_a_null_model():
    rows = column((116.0, 133.0, 152.0), 0.25)
    rows[0] = replace(rows[0], calibration=True, tolerance=None)
    assert null_models(rows)[0].rows == 2
    assert null_models(identities(rows)) == ()


def test_far_rows_of_one_reason_stand_together():
    paper = Paper("paper", "A paper", {}, (
        row(10.0, 46.8, why="no chunked copies"), row(10.0, 42.6, why="no chunked copies"), row(10.0, 4.0),
        row(10.0, 15.0), row(10.0, "not modelled"), row(1.0, 9.0, identity=True),
    ))  # fmt: skip
    first, second = far_off([compare(paper, each, {}) for each in paper.rows])
    assert (len(first.rows), first.why, second.why) == (2, "no chunked copies", UNKNOWN)
    assert "(+326.0 % to +368.0 %): no chunked copies" in far_line(first)
    assert (second.least, second.most, len(second.rows)) == (pytest.approx(-0.6), pytest.approx(-0.6), 2)


def test_what_json_says():
    rows = tuple(column((116.0, 133.0, 152.0), 0.25))
    paper = Paper("paper", "A paper", {}, rows)
    compared = [compare(paper, each, {}) for each in rows]
    (document,) = summary_documents([paper], [compared])
    assert document["uninformative"] == ["t"] and document["null"][0]["rows"] == 3 and document["median"] == 0.0
    assert [each["informative"] for each in row_documents(paper, compared)] == [False] * 3
    assert "not informative" in verdict(paper, compared)


IDENTITIES = {
    "instinfer": 8, "lamina": 27, "packet_spraying": 6, "fuyou": 10, "cxl": 19, "tpi_llm": 7, "tokenweave": 0,
    "tokenring": 0, "cloudmatrix384": 2,
}  # fmt: skip


@pytest.mark.parametrize("name", PAPERS)
def test_rows_that_compare_an_input_with_itself_are_known(name):
    rows = load_paper(name).rows
    assert sum(each.identity for each in rows) == IDENTITIES.get(name, 0)
    assert not any(each.identity and each.calibration for each in rows)


def test_tables_of_the_supernode_that_say_nothing_are_named():
    found = standing(load_paper("cloudmatrix384"), ()).uninformative
    assert found == ("dispatch_cann", "combine_cann", "dispatch_deepep", "combine_deepep")


def test_the_command_prints_and_dumps_them(capsys, tmp_path):
    assert main(["reproduce", "tpi_llm", "--summary", "--json", "--out", str(tmp_path)]) == 0
    (first,) = json.loads(capsys.readouterr().out)
    assert (first["targets"], first["rows"], first["identity"], first["median"]) == (0, 0, 7, None)
    assert main(["reproduce", "tpi_llm", "--far", "--out", str(tmp_path)]) == 0
    assert capsys.readouterr().out == "- none\n"
    assert main(["reproduce", "tpi_llm", "--details", "--out", str(tmp_path)]) == 0
    printed = capsys.readouterr().out
    assert "no row is a target; 7 of 7 rows hold that any right schedule fulfils (identity)" in " ".join(
        printed.split()
    )
