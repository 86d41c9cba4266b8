"""How a published value and ours are compared, misses and failures included."""

import pytest

from controller.experiment.run_spec import RunSpec
from controller.reproduce.rows import Paper, PublishedRow, RunResult, compare, throughput, throughput_ratio
from controller.reproduce.runner import reproduce

FINE = RunResult("ok", 20.0, 10.0, 4.0, 6.0)
FAST = RunResult("ok", 50.0, 4.0, 1.0, 3.0)
FULL = RunResult("OOM at cpu.dram: 12 bytes missing", None, 0.0, None, None)
RESULTS = {"fine": FINE, "fast": FAST, "full": FULL}
PAPER = Paper("paper", "A paper", {"fine": RunSpec("gpu_only", "tiny-opt")}, ())


def row(published, ours, tolerance=None, calibration=False) -> PublishedRow:
    return PublishedRow(
        "table", {"system": "x", "batch": 4}, "throughput", published, "tokens/s", "P", ours, (), tolerance, calibration
    )


def found(published, key: str, **fields):
    return compare(PAPER, row(published, throughput(key), **fields), RESULTS)


@pytest.mark.parametrize(
    ("published", "tolerance", "error", "ok"),
    [(19.0, 0.10, 1 / 19, True), (16.0, 0.10, 0.25, False), (25.0, 0.20, -0.20, True), (25.0, None, -0.20, None)],
)
def test_numbers(published: float, tolerance: float | None, error: float, ok: bool | None) -> None:
    result = found(published, "fine", tolerance=tolerance)
    assert (result.ours, result.ok) == (20.0, ok)
    assert result.error == pytest.approx(error)
    assert (result.paper, result.row, result.table, result.tolerance) == (
        "paper",
        "system=x batch=4",
        "table",
        tolerance,
    )


def test_a_row_that_a_knob_was_set_from_meets_no_target() -> None:
    assert found(20.0, "fine", tolerance=0.1, calibration=True).ok is None


def test_an_outcome_is_text() -> None:
    result = found("OOM", "full", tolerance=0.0)
    assert (result.ours, result.error, result.ok) == (FULL.ended, None, True)


def test_a_number_where_they_ran_out_and_the_other_way_round() -> None:
    assert found("OOM", "fine", tolerance=0.0).ok is False
    missed = found(20.0, "full", tolerance=0.5)
    assert (missed.ours, missed.error, missed.ok) == (FULL.ended, None, False)
    assert found(20.0, "full").ok is None


def test_ratios() -> None:
    assert throughput_ratio("fast", "fine")(RESULTS) == 2.5
    assert throughput_ratio("fast", "full")(RESULTS) == FULL.ended
    assert throughput_ratio("full", "fast")(RESULTS) == FULL.ended


def test_single_rows_by_a_value_that_identifies_them() -> None:
    rows = tuple(
        PublishedRow("table", {"id": name, "model": "m"}, "step time", 1.0, "s", "P", lambda _: 1.0, ())
        for name in ("A1", "A2", "B1")
    )
    paper = Paper("paper", "A paper", {}, rows)
    assert [each.row["id"] for each in paper.only(("A2", "B1")).rows] == ["A2", "B1"]
    assert len(paper.only(("m",)).rows) == 3
    assert paper.only(("A",)).rows == ()


def test_only_the_rows_that_are_asked_for_are_prepared() -> None:
    asked: list[object] = []
    made = PublishedRow("table", {"id": "A1"}, "step time", 1.0, "s", "P", lambda _: 1.0, ())
    other = PublishedRow("table", {"id": "A2"}, "step time", 1.0, "s", "P", lambda _: 1.0, ())
    paper = Paper("paper", "A paper", {}, (made, other), prepare=lambda rows, *_: asked.extend(rows))
    reproduce(paper.only(("A1",)))
    assert asked == [made]
