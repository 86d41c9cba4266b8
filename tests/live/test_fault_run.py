"""A job of eight processes names the node that is killed or frozen within seconds, and slow ones only slow it down."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from controller.cli.fault.group import fault

pytestmark = [pytest.mark.live, pytest.mark.timeout(300)]


def run_of(folder: Path, *faults: str, workload: str = "collective all_reduce -b 1M -e 1M") -> dict[str, object]:
    path = folder / "faults.yaml"
    path.write_text(
        f"topology: dgx_h100\nworkload: {workload}\nfaults:\n" + "".join(f"  - {{{each}}}\n" for each in faults)
    )
    found = CliRunner().invoke(fault, ["run", str(path), "--live", "--json"], catch_exceptions=False)
    assert found.exit_code == 0, found.output
    told: dict[str, object] = json.loads(found.stdout)
    return told


@pytest.mark.parametrize("kind", ["dead", "frozen"])
def test_the_node_is_named_in_under_five_seconds(tmp_path: Path, kind: str) -> None:
    struck = run_of(tmp_path, f"target: gpu5, kind: {kind}, at: 0 s")["struck"]
    assert isinstance(struck, dict)
    assert struck["ended"] == "unreachable" and struck["device"] == "gpu5"
    assert struck["named_s"] < 5.0, "the target: nodes are silent for 3 s and looked at twice a second"


def test_a_corrupt_link_ends_in_wrong_values_and_says_so(tmp_path: Path) -> None:
    words = "collective all_reduce -b 64k -e 64k --ranks 2"
    told = run_of(tmp_path, "target: gpu1.nvlink-nvswitch, kind: corrupt, at: 0 s", workload=words)
    struck, twin = told["struck"], told["twin"]
    assert isinstance(struck, dict) and isinstance(twin, dict)
    assert (twin["ended"], struck["ended"], struck["values_right"]) == ("ok", "ok", False)
    assert told["undetected"] == ["gpu1.nvlink-nvswitch corrupt @ 0 s"]  # silent: only the values show it


def test_a_dropped_link_ends_the_run_with_its_name(tmp_path: Path) -> None:
    words = "collective all_reduce -b 64k -e 64k --ranks 2"
    told = run_of(tmp_path, "target: gpu1.nvlink-nvswitch, kind: dead, at: 0 s", workload=words)
    struck = told["struck"]
    assert isinstance(struck, dict)
    assert struck["ended"] == "link failed" and struck["links"] == ["gpu1.nvlink-nvswitch"], struck


@pytest.mark.slow
def test_a_slow_node_changes_no_value(tmp_path: Path) -> None:
    struck = run_of(tmp_path, "target: gpu2, kind: slow, severity: 3, at: 0 s")["struck"]
    assert isinstance(struck, dict)
    assert struck["ended"] == "ok" and struck["values_right"] is True


@pytest.mark.slow
def test_training_goes_on_from_the_command_line(tmp_path: Path) -> None:
    words = "run train_gpu_only --model tiny-opt --dp 2 --steps 4 --batch 2 --seq 8 --set gpu.count=2"
    workload = f"{words}\nrecovery: {{policy: replica}}"
    struck = run_of(tmp_path, "target: gpu1, kind: dead, at: 0 s", workload=workload)["struck"]
    assert isinstance(struck, dict)
    assert struck["ended"] == "ok" and struck["values_right"] is True
    assert [failure["device"] for failure in struck["failures"]] == ["gpu1"]
