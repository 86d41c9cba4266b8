"""Programs that stand for measured training steps follow from the conditions of a row alone."""

from dataclasses import replace

from controller.reproduce.training.conditions import NotRun, TrainingRun, run_of
from controller.reproduce.training.published import measured_steps

ROWS = {row.id: row for row in measured_steps()}


def test_what_a_row_came_to_does_not_change_what_stands_for_it():
    for row in ROWS.values():
        other = replace(row, tokens_per_s=row.tokens_per_s * 2, step_s=row.step_s * 3, peak_gib=row.peak_gib * 5)
        assert run_of(other) == run_of(row)


def test_every_row_is_run_or_says_why_not():
    found = {name: run_of(row) for name, row in ROWS.items()}
    assert len(found) == 206
    assert all(each.reason for each in found.values() if isinstance(each, NotRun))
    assert sum(isinstance(each, TrainingRun) for each in found.values()) > 120


def test_attention_by_triton_is_that_of_the_h100_runs_of_llm_foundry_alone():
    slower = [
        name for name, row in ROWS.items() if any("prefill" in text for text in getattr(run_of(row), "overrides", ()))
    ]
    assert slower
    assert all(ROWS[name].source == "S21" and "h100" in ROWS[name].hardware.lower() for name in slower)
    assert "attention by Triton, 1.8 times as long as FlashAttention-2" in run_of(ROWS["M59"]).assumed
