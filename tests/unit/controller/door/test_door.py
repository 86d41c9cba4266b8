"""What `import windtunnel` gives: the results of the command line, as plain values and rows."""

import json
from pathlib import Path

import pytest
import windtunnel

from controller.cli.main import main

TINY = {"model": "tiny-opt", "batch": 2, "output_tokens": 2}


def of_the_command_line(capsys, *words: str):
    capsys.readouterr()
    assert main([*words, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_a_checkout_imports_the_door_beside_the_controller():
    root = Path(__file__).resolve().parents[4]
    assert Path(windtunnel.__file__) == root / "controller/door/windtunnel/__init__.py"


def test_a_run_is_that_of_the_command_line(capsys):
    ours = windtunnel.run("instinfer", **TINY, overrides={"csd.count": 2}, mini_batches=2)
    theirs = of_the_command_line(
        capsys, "run", "instinfer", "--model", "tiny-opt", "--batch", "2", "--output-tokens", "2", "--set",
        "csd.count=2", "--mini-batches", "2",
    )  # fmt: skip
    document = ours.to_dict()
    assert {key: document[key] for key in document if "wall" not in key} == {
        key: theirs[key] for key in theirs if "wall" not in key
    }
    assert ours.time_s == theirs["time_s"] > 0
    assert json.loads(json.dumps(document)) == document
    (row,) = ours.rows()
    assert (row["strategy"], row["batch"], row["time_s"]) == ("instinfer", 2, ours.time_s)
    assert {"name", "busy_s"} <= set(ours.resources()[0]) and {"label", "count"} <= set(ours.ops()[0])
    assert repr(ours).startswith("<instinfer of tiny-opt on a6000_csd: ")


def test_files_are_written_and_memory_that_runs_out_is_a_result(tmp_path):
    found = windtunnel.run("gpu_only", **TINY, trace=tmp_path / "t.json", report=tmp_path / "r.html")
    assert found.ok and json.loads((tmp_path / "t.json").read_text())["traceEvents"]
    assert (tmp_path / "r.html").stat().st_size > 1000
    full = windtunnel.run("gpu_only", model="opt-175b", output_tokens=2)
    assert not full.ok and full.tokens_per_s is None and "OOM" in full.rows()[0]["outcome"]


def test_a_collective_has_a_row_for_each_size(capsys, tmp_path):
    faults = tmp_path / "faults.yaml"
    faults.write_text("faults:\n  - {link: gpu0.nvlink-nvswitch, at: 0 s, capacity: 0.1}\n")
    asked = {"ranks": 4, "algorithm": "ring", "min_bytes": "1K", "max_bytes": "1M", "factor": 32}
    table = windtunnel.collective("all_reduce", **asked)
    words = ("--ranks", "4", "--algorithm", "ring", "-b", "1K", "-e", "1M", "-f", "32")
    theirs = of_the_command_line(capsys, "collective", "all_reduce", *words)
    assert table.to_dict()["results"] == theirs["results"]
    assert [row["size_bytes"] for row in table.rows()] == [1024, 32768, 1048576]
    slower = windtunnel.collective("all_reduce", **asked, faults=faults)
    assert slower.rows()[2]["time_s"] > table.rows()[2]["time_s"]
    assert repr(table) == "<all_reduce over 4 ranks of dgx_h100: 3 sizes>"


def test_a_comparison_has_a_row_for_each_candidate_and_value(capsys):
    found = windtunnel.compare("gpu_only", "D=dram_kv", model="tiny-opt", output_tokens=2, sweep={"batch": [1, 2]})
    rows = found.rows()
    assert [(row["name"], row["batch"]) for row in rows] == [
        ("gpu_only", "1"),
        ("D", "1"),
        ("gpu_only", "2"),
        ("D", "2"),
    ]
    words = ("--candidate", "gpu_only", "--candidate", "D=dram_kv", "--model", "tiny-opt", "--output-tokens", "2")
    theirs = of_the_command_line(capsys, "compare", *words, "--sweep", "batch=1,2", "--processes", "1")
    assert found.to_dict()["rows"] == theirs
    assert not [value for row in rows for value in row.values() if isinstance(value, dict)], "a cell is one value"


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: windtunnel.run("instinfr"), "did you mean 'instinfer'"),
        (lambda: windtunnel.run("instinfer", bach=3), "instinfer has no option 'bach'"),
        (lambda: windtunnel.run("instinfer", overrides={"csd.cuont": 2}), "csd.cuont"),
        (lambda: windtunnel.run("instinfer", faults=["nothing@1 ms"]), "no link 'nothing'"),
        (lambda: windtunnel.collective("all_reduse"), "did you mean 'all_reduce'"),
        (lambda: windtunnel.collective("all_reduce", ranks=2, devices=["gpu0"]), "give one of them"),
        (lambda: windtunnel.compare("gpu_only", sweep={"batch": []}), "--sweep"),
    ],
)
def test_wrong_input_raises_the_error_of_the_command_line(call, said):
    with pytest.raises((windtunnel.UserError, windtunnel.UserInput), match=said):
        call()


def test_one_text_is_one_text_and_not_its_letters():
    ours = windtunnel.run("instinfer", **TINY, overrides="csd.count=2")
    assert ours.time_s == windtunnel.run("instinfer", **TINY, overrides=["csd.count=2"]).time_s
    table = windtunnel.collective("all_reduce", devices="gpu0,gpu2", min_bytes="1K", max_bytes="3K", step_bytes="1K")
    assert [row["size_bytes"] for row in table.rows()] == [1024, 2048, 3072]
