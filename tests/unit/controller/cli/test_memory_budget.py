"""A command that outgrows its memory budget ends with the limit and the way out."""

from __future__ import annotations

import signal
import threading

import pytest

from controller.cli.main import main
from controller.cli.memory_budget import MemoryBudgetExceeded, budget_bytes, held_bytes, memory_budget

pytestmark = pytest.mark.timeout(60)


def test_a_body_over_its_budget_is_interrupted() -> None:
    with pytest.raises(MemoryBudgetExceeded, match="--memory-budget"), memory_budget(1 << 20):
        threading.Event().wait(30)


def test_a_background_job_is_interrupted_too() -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with pytest.raises(MemoryBudgetExceeded), memory_budget(1 << 20):
            threading.Event().wait(30)
    finally:
        signal.signal(signal.SIGINT, before)


def test_ctrl_c_below_the_budget_stays_an_interrupt() -> None:
    with pytest.raises(KeyboardInterrupt), memory_budget(held_bytes() + (8 << 30)):
        raise KeyboardInterrupt


def test_half_of_the_machine_is_the_default() -> None:
    assert budget_bytes("3 GiB") == 3 << 30 and budget_bytes(None) > 0


def test_a_budget_that_is_none_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--memory-budget", "lots", "devices"]) == 2
    assert "--memory-budget" in capsys.readouterr().err
