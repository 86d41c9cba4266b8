"""Rows of figures 4, 5 and 16 and of the derived quantities, from results that are written here."""

from dataclasses import replace

import pytest

from controller.reproduce import instinfer
from controller.reproduce.instinfer_details import rows, runs
from controller.reproduce.rows import PublishedRow, RunResult, Value

ROWS = rows()


def row(table: str, **wanted: str | int) -> PublishedRow:
    (found,) = (one for one in ROWS if one.table == table and wanted.items() <= one.row.items())
    return found


def result(**given) -> RunResult:
    """A run of 100 s that ended well, but for what is given."""
    return replace(RunResult("ok", 10.0, 100.0, 0.0, 100.0), **given)


def number(value: Value) -> float:
    assert not isinstance(value, str)
    return value


def test_every_run_that_a_row_names_is_there() -> None:
    named = {key for one in instinfer.paper().rows for key in one.runs}
    assert named <= instinfer.paper().runs.keys() and runs(440.0).keys() <= named


def test_shares_of_flexgen_add_up() -> None:
    results = {
        "flexgen_gpu/4": result(label_s={"decode_attention": 20.0}),
        "flexgen/64": result(busy_ratio={"gpu.stream": 0.25}),
    }
    for batch, cache in ((4, 20.0), (64, 75.0)):
        shares = [
            number(row("flexgen_decode_time", batch=batch, of=of).ours(results))
            for of in ("cache", "compute_and_weights")
        ]
        assert shares == pytest.approx([cache, 100 - cache])


def test_rates_are_bytes_over_the_time_of_the_ops_that_move_them() -> None:
    results = {
        "prefill/io": result(flash_bytes=(0.0, 80e9), busy_ratio={"csd0.flash.simplex": 0.4}),
        "sparf/io": result(flash_bytes=(600e9, 200e9), label_s={"sparf_attention": 60.0, "kv flush": 40.0}),
    }
    found = {
        part: row("table_3_rates", part=part).ours(results) for part in ("prefill_write", "decode_read", "decode_write")
    }
    assert found == pytest.approx({"prefill_write": 2.0, "decode_read": 10.0, "decode_write": 3.0})


def test_endurance_is_the_rated_life_over_what_a_token_writes() -> None:
    written = 64 * 2048 * 1.2e6
    found = row("derived", of="endurance").ours({"sparf/io": result(flash_bytes=(0.0, written))})
    assert number(found) == pytest.approx(4 * 6e15 / 1.2e6)


def test_what_failed_says_so() -> None:
    failed = result(ended="OOM at cpu.dram", tokens_per_s=None)
    results = {"deepspeed/16": failed, "deepspeed/32": result(), "sparf/io": failed, "prefill/io": result()}
    assert row("motivation", over_batch=32).ours(results) == "OOM at cpu.dram"
    assert row("table_3_rates", part="decode_read").ours(results) == "OOM at cpu.dram"


def test_steps_of_the_engine_share_its_units() -> None:
    shares = [number(row("engine_time", system="sparf", step=step).ours({})) for step in ("logit_0", "logit", "attend")]
    assert shares == pytest.approx([100 / 3] * 3)
    assert row("engine_time", system="sparf", step="filter").ours({}) == "beside the units"
