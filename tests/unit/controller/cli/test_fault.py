"""``windtunnel fault month`` and ``fault run`` at the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from controller.cli.main import main

SMALL = ["--rates", "meta_llama3", "--gpus", "16384", "--checkpoint", "30 min", "--months", "2"]


def told(capsys: pytest.CaptureFixture[str], *words: str) -> dict:
    assert main(["fault", *words, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_the_ledger_of_a_month_sums_to_its_wall_time_exactly(capsys) -> None:
    found = told(capsys, "month", *SMALL)
    assert list(found["ledger"]) == ["useful", "lost", "detect", "diagnose", "reinit", "slow", "stall"]
    assert sum(found["ledger"].values()) == found["wall_s"] == 2 * 30 * 86400.0
    assert found["ettr"] == pytest.approx(found["theory"]["ettr"], abs=0.03)  # of two months
    assert 0 < found["goodput"] <= found["ettr"] and found["failures"] > 300


def test_the_same_seed_gives_the_same_bytes(capsys) -> None:
    first, second = (json.dumps(told(capsys, "month", *SMALL, "--seed", "5")) for _ in range(2))
    assert first == second
    assert json.dumps(told(capsys, "month", *SMALL, "--seed", "6")) != first


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--rates", "meta", "--gpus", "8"], "no rates called 'meta'"),
        (["--rates", "rsc1", "--gpus", "0"], "0 GPUs"),
        (["--rates", "rsc1", "--gpus", "8", "--recovery", "spares"], "did you mean 'spare'"),
        (["--rates", "rsc1", "--gpus", "8", "--checkpoints", "block"], "no checkpoints called 'block'"),
        (["--rates", "rsc1", "--gpus", "8", "--checkpoint", "0 s"], "a checkpoint every 0 s"),
    ],
)
def test_wrong_words_are_refused(capsys, words: list[str], said: str) -> None:
    assert main(["fault", "month", *words]) == 2
    assert said in capsys.readouterr().err


def file_of(folder: Path, *faults: str) -> str:
    path = folder / "run.yaml"
    entries = "".join(f"  - {{{each}}}\n" for each in faults)
    path.write_text(
        f"topology: dgx_h100\nworkload: collective all_reduce -b 64M -e 64M --algorithm ring\nfaults:\n{entries}"
    )
    return str(path)


def test_a_run_stands_beside_its_twin(capsys, tmp_path: Path) -> None:
    found = told(capsys, "run", file_of(tmp_path, "target: gpu3.nvlink, kind: bandwidth, severity: 0.5, at: 0 s"))
    assert found["twin"]["ended"] == found["struck"]["ended"] == "ok"
    assert found["damage_s"] > 0 and found["observable"]


def test_a_device_that_dies_is_the_outcome(capsys, tmp_path: Path) -> None:
    found = told(capsys, "run", file_of(tmp_path, "target: gpu3, kind: dead, at: 100 us"))
    assert found["struck"]["ended"] == "unreachable" and found["struck"]["device"] == "gpu3"


def test_a_fault_that_nobody_notices_is_reported(capsys, tmp_path: Path) -> None:
    found = told(capsys, "run", file_of(tmp_path, "target: cpu, kind: slow, severity: 2, at: 0 s"))
    assert found["damage_s"] == 0.0 and not found["observable"] and len(found["faults"]) == 1
    main(["fault", "run", file_of(tmp_path, "target: cpu, kind: slow, severity: 2, at: 0 s")])
    assert "undetected" in capsys.readouterr().out


def test_detectors_name_who_died_in_the_middle_of_a_collective(capsys, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    file = file_of(tmp_path, "target: gpu3, kind: dead, at: 100 us")
    found = told(capsys, "run", file, "--detector", "default", "--report", str(page))
    (said,) = found["verdicts"]
    assert said["component"] == {"kind": "device", "name": "gpu3"} and said["right"] is True
    assert said["at_s"] < 5.0 and found["undetected"] == []
    assert list(found["ledger_s"]) == ["lost", "detect"]
    assert sum(found["ledger_s"].values()) == pytest.approx(said["at_s"])
    text = page.read_text()
    for title in ("truth and verdicts", "delay matrix", "who waits for whom", "ledger"):
        assert f">{title}<" in text


def test_the_file_says_who_watches(capsys, tmp_path: Path) -> None:
    file = Path(file_of(tmp_path, "target: gpu3.nvlink, kind: bandwidth, severity: 0.5, at: 0 s"))
    file.write_text(file.read_text() + "detectors: [watchdog, default]\n")
    found = told(capsys, "run", str(file))
    assert {said["detector"] for said in found["verdicts"]} == {"default"}  # a watchdog sees no slowness
    assert [said["component"]["name"] for said in found["verdicts"]] == ["gpu3"]
    assert sum(found["ledger_s"].values()) == found["struck"]["time_s"]
    file.write_text(file.read_text().replace("watchdog", "watchdogs"))
    assert main(["fault", "run", str(file)]) == 2
    assert "did you mean 'watchdog'" in capsys.readouterr().err


def test_a_slow_gpu_is_told_from_its_peers_in_training(capsys, tmp_path: Path) -> None:
    path = tmp_path / "train.yaml"
    path.write_text(
        "topology: dgx_h100\nworkload: run train_gpu_only --model opt-125m --dp 4 --steps 40 --batch 8\n"
        "faults:\n  - {target: gpu1, kind: slow, severity: 2, at: 0 s}\n"
    )
    found = told(capsys, "run", str(path))
    assert [(said["component"]["name"], said["right"]) for said in found["verdicts"]] == [("gpu1", True)]
    assert 1.7 < found["verdicts"][0]["severity"] < 2.1


def test_what_no_signal_can_do_is_refused_live(capsys, tmp_path: Path) -> None:
    file = file_of(tmp_path, "target: gpu3.nvlink, kind: bandwidth, severity: 0.5, at: 0 s")
    assert main(["fault", "run", file, "--live"]) == 2
    assert "nodes that go as fast as this machine can have no speed to lose; add --pace" in capsys.readouterr().err
    assert (
        main(["fault", "run", file_of(tmp_path, "target: cpu, kind: bandwidth, severity: 0.5, at: 0 s"), "--live"]) == 2
    )
    assert "live nodes cannot be bandwidth of a device" in capsys.readouterr().err
