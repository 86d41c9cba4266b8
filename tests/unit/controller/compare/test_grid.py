"""Running a comparison: rows in the order asked, failures as rows, and going on after a break."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from controller.cli.compare import compare
from controller.compare import grid
from controller.compare.candidates import GENERATION, HBM_ONLY, Candidate
from controller.compare.grid import run_grid
from controller.compare.measure import ComparisonRow, measure
from controller.compare.question import Axis, Point, points
from controller.compare.store import BadStore, ResultStore
from controller.experiment.run import run_experiment
from controller.experiment.run_spec import RunSpec
from controller.report.comparison import csv_text, sweep_plot

BASE = RunSpec("gpu_only", "tiny-opt", batch=2, prompt_tokens=8, output_tokens=3)
BOTH = (Candidate("hbm", "gpu_only"), Candidate("drive", "instinfer"))
AXES = (Axis("batch", ("1", "2")),)
ASKED = points(BASE, BOTH, AXES)


def test_rows_come_in_the_order_asked_and_measure_what_run_measures() -> None:
    rows = run_grid(ASKED, processes=1)
    assert [(row.name, row.at["batch"]) for row in rows] == [("hbm", "1"), ("drive", "1"), ("hbm", "2"), ("drive", "2")]
    assert all(row.outcome == "ok" and row.tokens_per_s and row.per_token_s and row.bound for row in rows)
    assert run_grid(ASKED[:1], processes=1)[0] == rows[0]


def test_energy_that_lacks_a_part_is_marked() -> None:
    from controller.report.comparison import table_columns, table_rows

    rows = run_grid(ASKED[:1], processes=1)
    assert rows[0].energy_is_least, "the CPU's sheet gives no power"
    cell = table_rows(rows)[0][table_columns(rows).index("J/token")]
    assert str(cell).endswith("+")


def test_processes_change_nothing() -> None:
    assert run_grid(ASKED[:2], processes=2) == run_grid(ASKED[:2], processes=1)


def test_what_does_not_fit_and_what_cannot_run_are_rows() -> None:
    big = RunSpec("gpu_only", "opt-175b", batch=1, prompt_tokens=8, output_tokens=2)
    asked = points(big, (Candidate("hbm", "gpu_only"), Candidate("cxl", "cxl_kv", "a6000_ssd")), ())
    full, wrong = run_grid(asked, processes=1)
    assert full.outcome.startswith("OOM at gpu.hbm")
    assert full.tokens_per_s is None
    assert wrong.outcome.startswith("cannot run:")
    assert "has no cxl" in wrong.outcome


def test_a_grid_that_was_broken_off_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ran: list[str] = []

    def broken(point: Point) -> ComparisonRow:
        if len(ran) == 2:
            raise KeyboardInterrupt
        ran.append(point.name)
        return measure(point)

    monkeypatch.setattr(grid, "measure", broken)
    with pytest.raises(KeyboardInterrupt):
        run_grid(ASKED, folder=tmp_path, processes=1)
    monkeypatch.setattr(grid, "measure", lambda point: ran.append(point.name) or measure(point))
    rows = run_grid(ASKED, folder=tmp_path, processes=1)
    assert ran == [point.name for point in ASKED]
    assert rows == run_grid(ASKED, processes=1)


def test_a_torn_last_line_is_run_again_and_a_wrong_one_is_named(tmp_path: Path) -> None:
    run_grid(ASKED[:2], folder=tmp_path, processes=1)
    path = tmp_path / "rows.jsonl"
    path.write_text(path.read_text()[:-20])
    store = ResultStore(tmp_path)
    assert store.get(ASKED[0].digest) is not None
    assert store.get(ASKED[1].digest) is None
    assert path.read_text().count("\n") == 1
    path.write_text("{}\n")
    with pytest.raises(BadStore, match=r"rows.jsonl:1"):
        ResultStore(tmp_path)


def test_csv_has_a_line_a_run_and_the_plot_a_line_a_scheme() -> None:
    rows = run_grid(ASKED, processes=1)
    lines = list(csv.DictReader(io.StringIO(csv_text(rows))))
    assert [line["batch"] for line in lines] == ["1", "1", "2", "2"]
    assert float(lines[0]["tokens_per_s"]) == rows[0].tokens_per_s
    plot = sweep_plot(rows, AXES)
    assert "hbm" in plot
    assert "drive" in plot


def test_the_command_writes_what_it_is_asked_for(tmp_path: Path) -> None:
    words = [
        *("--model", "tiny-opt", "--batch", "2", "--prompt-tokens", "8", "--output-tokens", "3", "--json"),
        *("--candidate", "hbm=gpu_only", "--candidate", "drive=instinfer", "--sweep", "csd.count=1,2"),
        *("--csv", str(tmp_path / "a.csv"), "--plot", str(tmp_path / "a.svg"), "--report", str(tmp_path / "a.html")),
        *("--out", str(tmp_path / "kept"), "--processes", "1"),
    ]
    result = CliRunner().invoke(compare, words, catch_exceptions=False)
    # gpu_only runs on a topology without drives, where csd.count names nothing: those are rows, not a crash.
    rows = json.loads(result.stdout)
    assert [row["outcome"].split(":")[0] for row in rows] == ["cannot run", "ok", "cannot run", "ok"]
    assert (tmp_path / "a.csv").read_text().startswith("name,strategy,topology,csd.count,outcome")
    assert "<svg" in (tmp_path / "a.svg").read_text()
    assert "drive csd.count=" in (tmp_path / "a.html").read_text()


def test_a_folder_that_is_not_there_is_named_before_anything_runs(tmp_path: Path) -> None:
    from controller.errors import UserError

    with pytest.raises(UserError, match="there is no folder"):
        CliRunner().invoke(compare, ["--csv", str(tmp_path / "no" / "a.csv")], catch_exceptions=False)


BOX = Path(__file__).parent / "two_h100.yaml"


def _hbm_only(model: str) -> ComparisonRow:
    base = RunSpec("gpu_only", model, batch=2, prompt_tokens=8, output_tokens=3)
    rivals = tuple(replace(rival, topology=str(BOX)) for rival in HBM_ONLY.rivals)
    (row,) = run_grid(points(base, (replace(HBM_ONLY, topology=str(BOX), rivals=rivals),), ()), processes=1)
    return row


def test_the_baseline_is_the_fastest_that_the_table_has_for_the_topology() -> None:
    row = _hbm_only("llama3-8b")
    asked = RunSpec(
        "vllm_tp", "llama3-8b", str(BOX), batch=2, prompt_tokens=8, output_tokens=3, options={"gpus": "all"}
    )
    turns = replace(asked, strategy="gpu_only", options={})
    assert row.tokens_per_s == run_experiment(asked).tokens_per_s
    assert row.tokens_per_s is not None
    slow = run_experiment(turns).tokens_per_s
    assert slow is not None
    assert row.tokens_per_s > 1.2 * slow
    assert (row.strategy, row.options) == ("vllm_tp", {"gpus": "all"})
    assert f"gpu_only {slow:.4g} tokens/s" in row.reports["baseline"]


def test_every_default_baseline_is_the_best_of_all_that_keep_everything_in_hbm() -> None:
    for candidate in GENERATION:
        if candidate.strategy in ("gpu_only", "vllm_tp"):
            assert {candidate.strategy, *(rival.strategy for rival in candidate.rivals)} == {"gpu_only", "vllm_tp"}


def test_gpus_that_take_turns_say_so_and_draw_idle_power() -> None:
    experiment = run_experiment(RunSpec("gpu_only", "llama3-8b", str(BOX), batch=2, prompt_tokens=8, output_tokens=3))
    assert (
        "2 GPUs hold a part of the layers each and take turns: 1 of them wait"
        in experiment.to_json()["reports"]["note"]
    )
    assert experiment.energy is not None
    drawn = {each.device: each for each in experiment.energy.devices}
    idle_w = experiment.topology.devices["gpu1"].spec.power_w["idle"]
    assert drawn["gpu1"].by_activity["idle"] == pytest.approx(idle_w * experiment.outcome.time_s)
    alone = run_experiment(
        RunSpec("gpu_only", "llama3-8b", str(BOX), ("gpu.count=1",), batch=2, prompt_tokens=8, output_tokens=3)
    )
    assert not alone.outcome.notes


def test_what_lacks_power_or_a_price_is_named_once() -> None:
    from controller.report.comparison import notes, table_columns, table_rows

    row = _hbm_only("llama3-8b")
    assert row.powerless == row.unpriced == row.unrented == ("xeon_8480",)
    said = notes((row, row))
    assert len(said) == len(set(said)) == 5
    assert any("no published rent of xeon_8480" in note for note in said)
    assert "dollars per token are empty where a product in use lacks its rent, and one its price" in said
    cells = dict(zip(table_columns((row,)), table_rows((row,))[0], strict=True))
    assert (cells["rent an hour"], cells["purchase"]) == ("22.12 USD+", "60,000 USD+")
    assert cells["per million tokens"] is None
    assert any("no power, or none while idle, in the sheets of xeon_8480" in note for note in said)
    assert any("no published price of xeon_8480" in note for note in said)


def test_a_closer_look_has_the_options_of_the_row(tmp_path: Path) -> None:
    from controller.report.comparison import write_comparison_report

    asked = points(BASE, (Candidate("tensor parallel", "vllm_tp", str(BOX), {"gpus": "all"}),), ())
    # Four GPUs, the default, would be refused.
    write_comparison_report(run_grid(asked, processes=1), (), BASE, tmp_path / "a.html")
    assert "vllm_tp gpus=all on two_h100" in (tmp_path / "a.html").read_text()
