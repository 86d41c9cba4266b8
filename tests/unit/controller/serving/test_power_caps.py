"""POLCA's caps over a server: they come late, slow prompts of low priority first, and keep the row's power."""

from __future__ import annotations

import json

import pytest

from controller.cli.main import main
from controller.serving.clusters.polca import COMMAND_S, FULL_MHZ, LOW_MHZ

WORDS = [
    "serve", "--model", "gpt-30m", "--topology", "dgx_a100", "--instances", "2", "--requests", "poisson:20/s",
    "--lengths", "in=64,out=40", "--num-prompts", "2400", "--exact", "0", "--json", "--low-priority", "1",
]  # fmt: skip


def served(capsys: pytest.CaptureFixture[str], budget: str) -> dict:
    assert main([*WORDS, "--power-budget", budget]) == 0
    return json.loads(capsys.readouterr().out)


def test_a_row_below_its_budget_is_left_alone_and_one_above_is_capped_late(capsys: pytest.CaptureFixture[str]) -> None:
    free, tight = served(capsys, "10 kW"), served(capsys, "800 W")
    assert free["power_caps"]["commands"] == 0 and free["power_caps"]["peak_ratio"] < 0.1
    caps = tight["power_caps"]
    assert caps["peak_ratio"] > 0.8 and caps["commands"] >= 1
    assert 0 < caps["capped_s"] < tight["time_s"] - COMMAND_S + 2
    assert free["completed"] == tight["completed"] == 2400
    assert FULL_MHZ / LOW_MHZ > tight["mean_ttft_ms"] / free["mean_ttft_ms"] > 1.0


@pytest.mark.parametrize("words", [("--power-budget", "0 W"), ("--power-budget", "1 kW", "--low-priority", "9")])
def test_budgets_that_make_no_sense_are_refused(words: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*WORDS, *words]) == 2
    assert "above 0 W" in (said := capsys.readouterr().err) or "there are 2 instances" in said
