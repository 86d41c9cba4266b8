"""Rounding for people, and tables that survive a pipe."""

import io

import pytest

from controller.report.tables import percent, quantity, reported, show, table


@pytest.mark.parametrize(
    ("value", "dimension", "text"),
    [
        (0.0031234567, "s", "3.123 ms"),
        (12.34567, "s", "12.35 s"),
        (48 * 2**30, "bytes", "51.54 GB"),
        (2 * 10**12, "bytes", "2 TB"),
        (123_456_789, "bytes", "123.5 MB"),
        (154.8e12, "FLOP/s", "154.8 TFLOP/s"),
        (-0.002, "s", "-2 ms"),
        (0.0, "s", "0 s"),
        (None, "s", "-"),
    ],
)
def test_quantity_rounds_to_four_digits_and_sizes_are_decimal(value, dimension, text):
    assert quantity(value, dimension) == text


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_what_is_no_result_is_not_printed(value):
    with pytest.raises(ValueError, match="no result"):
        quantity(value, "s")
    with pytest.raises(ValueError, match="no result"):
        percent(value)


def test_percent_has_a_sign():
    assert [percent(0.031), percent(-0.5), percent(None)] == ["+3.1 %", "-50.0 %", "-"]
    assert percent(0.031, sign="") == "3.1 %"


def test_table_prints_every_cell_on_one_line_without_markup_or_colour():
    stream = io.StringIO()
    show(table(("name", "time"), [("[red]x[/red]", "3 ms"), (None, "-1 s")], "what"), stream)
    lines = stream.getvalue().splitlines()
    assert lines[0].strip() == "what"
    assert any("[red]x[/red]" in line and "3 ms" in line for line in lines)
    assert "\x1b" not in stream.getvalue()


def test_numbers_stand_on_the_right():
    stream = io.StringIO()
    show(table(("n",), [("1",), ("1000",)]), stream)
    rows = [line for line in stream.getvalue().splitlines() if "1" in line]
    assert rows[0].rstrip().endswith("   1")


def test_rows_of_another_length_are_refused():
    with pytest.raises(ValueError, match="row 2 of t has 1 cells for 2 columns"):
        table(("a", "b"), [(1, 2), (1,)], "t")


def test_a_wide_table_stands_in_blocks_that_keep_the_first_column_and_every_cell_whole(monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")
    stream = io.StringIO()
    columns = ("name", *(f"column {number}" for number in range(6)))
    show(table(columns, [("first", *(f"{number}.25 GB/s" for number in range(6)))], "wide"), stream)
    lines = stream.getvalue().splitlines()
    assert max(map(len, lines)) <= 40
    assert sum("first" in line for line in lines) == 3
    assert all(any(f"{number}.25 GB/s" in line for line in lines) for number in range(6))
    assert sum("(continued)" in line for line in lines) == 2


def test_prose_is_folded_between_words(monkeypatch):
    monkeypatch.setenv("COLUMNS", "60")
    stream = io.StringIO()
    show(table(("name", "why"), [("x", "word " * 30)]), stream)
    assert max(map(len, stream.getvalue().splitlines())) <= 60
    assert "wor\n" not in stream.getvalue()


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("predicted_s", 13.463703246385759, "13.46 s"),
        ("kv_bytes", 1_500_000_000, "1.5 GB"),
        ("hit_ratio", 0.51234, "51.2 %"),
        ("requests_per_s", 3.14159265, "3.142 /s"),
        ("generated_tokens", 20480, "20,480"),
        ("plan", "a", "a"),
        ("is_full", True, "True"),
    ],
)
def test_what_a_program_reports_is_printed_with_the_unit_of_its_name(name, value, text):
    assert reported(name, value) == text


def test_numbers_have_commas_instead_of_exponents() -> None:
    from controller.report.tables import number

    assert [number(value) for value in (0.0, 12.345, 1441.2, 15744.0, 2.5e9)] == [
        "0", "12.35", "1441", "15,740", "2,500,000,000",
    ]  # fmt: skip
    assert number(1e-7) == "1e-07" and number(12345.0, 3) == "12,300"
