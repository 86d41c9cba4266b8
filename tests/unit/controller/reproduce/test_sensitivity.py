"""What hangs on an assumption: known elasticities of a known run."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from controller.cli.reproduce import reproduce
from controller.compare.kept import BrokenOff
from controller.experiment.run_spec import RunSpec
from controller.reproduce import runner
from controller.reproduce.rows import Paper, PublishedRow, RunResult, throughput
from controller.reproduce.runner import run_request
from controller.reproduce.sensitivity import _assumed, scaled_text, sensitivity
from controller.reproduce.table import load_paper
from controller.topology.loader import load_topology
from node.hardware.units import parse

REQUEST = RunSpec("gpu_only", "tiny-opt", batch=2, prompt_tokens=8, output_tokens=3)


def test_a_run_of_tiny_kernels_hangs_on_the_launch_and_not_on_the_link() -> None:
    row = PublishedRow("table", {"batch": 2}, "throughput", 1.0, "tokens/s", "P", throughput("run"), ("run",), 0.1)
    unused = PublishedRow("table", {"batch": 3}, "throughput", 1.0, "tokens/s", "P", throughput("run"), ("run",))
    found = sensitivity(Paper("paper", "A paper", {"run": REQUEST}, (row, unused)), processes=1)
    by_constant = {entry.constant: entry.elasticity for entry in found}
    assert len(by_constant) == len(found), "the row that is printed only does not count"
    launches = by_constant["gpu.issue.launch"] + by_constant["gpu.stream.launch"]
    assert -1.2 < launches < -0.5
    assert by_constant["link.gpu.pcie-root.latency"] == pytest.approx(0.0, abs=1e-6)
    assert not any(constant.startswith("gpu.power") for constant in by_constant)


def test_options_of_a_topology_are_varied_too() -> None:
    request = RunSpec("flexgen", "tiny-opt", batch=2, prompt_tokens=8, output_tokens=3)
    row = PublishedRow("table", {"batch": 2}, "throughput", 1.0, "tokens/s", "P", throughput("run"), ("run",), 0.1)
    found = sensitivity(Paper("paper", "A paper", {"run": request}, (row,)), processes=1)
    felt = {entry.constant: entry.elasticity for entry in found}
    assert felt["options.flexgen.append"] > 0


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("10 us", "9 us"), ("0.95", "0.855"), ("64", "58"), ("2", "1"), ("1", "0.9"), ("0", None), ("true", None),
        ("nvme", None), ("4 GiB", "3.865470566 GB"), ("2 GiB/s", "1.8 GiB/s"), ("4 KiB", "3.686 kB"), ("0 B", None),
    ],
)  # fmt: skip
def test_a_quantity_is_scaled_and_a_word_is_not(text: str, expected: str | None) -> None:
    scaled = scaled_text(text, 0.9)
    assert (None if scaled is None else scaled[0]) == expected


def test_bytes_and_counts_stay_whole_and_the_change_is_the_one_that_was_made() -> None:
    for size in ("4 GiB", "3 B", "81559 MiB", "1.44 TB"):
        scaled = scaled_text(size, 0.9)
        assert scaled is not None
        assert isinstance(parse(scaled[0], "bytes"), int)
        assert scaled[1] == pytest.approx(parse(scaled[0], "bytes") / parse(size, "bytes") - 1)
    assert scaled_text("2", 0.9) == ("1", -0.5)
    assert scaled_text("1", 0.9, count=True) is None


def test_the_capacity_of_the_drive_that_is_no_round_number_at_nine_tenths_can_be_changed() -> None:
    request = load_paper("instinfer").runs["instinfer/4"]
    changed = _assumed(request)["csd.dram.capacity"]
    topology = load_topology("a6000_csd", (f"csd.dram.capacity={changed.scaled}",))
    assert topology.devices["csd0"].spec.tiers["dram"].capacity_bytes == round(0.9 * 4 * 2**30)


ROW = PublishedRow("table", {"batch": 2}, "throughput", 1.0, "tokens/s", "P", throughput("run"), ("run",), 0.1)
PAPER = Paper("paper", "A paper", {"run": REQUEST}, (ROW,))


def test_a_changed_run_that_fails_is_a_row_with_its_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(request: RunSpec) -> RunResult:
        if any(text.startswith("gpu.issue.launch") for text in request.overrides):
            raise ZeroDivisionError("nothing to divide by")
        return run_request(request)

    monkeypatch.setattr(runner, "run_request", failing)
    found = {entry.constant: entry for entry in sensitivity(PAPER, processes=1)}
    bad = found.pop("gpu.issue.launch")
    assert (bad.changed, bad.elasticity) == ("cannot run: ZeroDivisionError: nothing to divide by", None)
    assert found
    assert all(entry.elasticity is not None for entry in found.values())


def test_what_was_broken_off_prints_what_is_there_and_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ran: list[RunSpec] = []

    def broken(request: RunSpec) -> RunResult:
        if len(ran) == 3:
            raise KeyboardInterrupt
        ran.append(request)
        return run_request(request)

    monkeypatch.setattr(runner, "run_request", broken)
    with pytest.raises(BrokenOff) as stopped:
        sensitivity(PAPER, folder=tmp_path, processes=1)
    assert (stopped.value.done, len(stopped.value.rows)) == (3, 2)
    assert f"3 of {stopped.value.total} runs" in stopped.value.advice()
    assert str(tmp_path) in stopped.value.advice()
    monkeypatch.setattr(runner, "run_request", lambda request: ran.append(request) or run_request(request))
    whole = sensitivity(PAPER, folder=tmp_path, processes=1)
    assert len(ran) == stopped.value.total
    assert whole[:2] == stopped.value.rows
    assert sensitivity(PAPER, folder=tmp_path, processes=1) == whole == sensitivity(PAPER, processes=1)


def test_the_command_keeps_runs_in_the_cache_and_says_how_to_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WINDTUNNEL_CACHE", str(tmp_path))
    monkeypatch.setattr("controller.reproduce.table.load_paper", lambda name: PAPER)
    calls: list[RunSpec] = []

    def once(request: RunSpec) -> RunResult:
        if len(calls) == 2:
            raise KeyboardInterrupt
        calls.append(request)
        return run_request(request)

    monkeypatch.setattr(runner, "run_request", once)
    words = ["paper", "--sensitivity", "--processes", "1", "--json"]
    stopped = CliRunner().invoke(reproduce, words)
    assert stopped.exit_code != 0
    assert len(json.loads(stopped.stdout)) == 1
    assert f"kept in {tmp_path}" in stopped.stderr
    monkeypatch.setattr(runner, "run_request", run_request)
    whole = CliRunner().invoke(reproduce, words, catch_exceptions=False)
    assert whole.exit_code == 0
    assert len(json.loads(whole.stdout)) > 1


def test_a_paper_whose_run_fails_prints_the_other_rows_and_fails(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    wrong = replace(REQUEST, overrides=("gpu.hbm.capacity=0.5 B",))
    rows = (ROW, replace(ROW, row={"batch": 3}, ours=throughput("wrong"), runs=("wrong",)))
    paper = Paper("paper", "A paper", {"run": REQUEST, "wrong": wrong}, rows)
    monkeypatch.setattr("controller.reproduce.table.load_paper", lambda name: paper)
    result = CliRunner().invoke(reproduce, ["paper", "--processes", "1", "--json", "--out", str(tmp_path)])
    assert result.exit_code == 1
    fine, failed = json.loads(result.stdout)
    assert fine["ours"] > 0
    assert failed["ours"].startswith("cannot run: ")
