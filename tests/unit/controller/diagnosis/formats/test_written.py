"""What a job leaves, in the formats of others; PyTorch's own analyser names the rank that never entered."""

import json
import subprocess
import sys

import pytest

from controller.diagnosis.entries import CampaignEntry, Injected
from controller.diagnosis.formats.dcgm import DeviceReading, dcgm_text
from controller.diagnosis.formats.flight_recorder import read_dumps
from controller.diagnosis.recording import record_entry
from controller.diagnosis.wavefront import wavefront
from tests.support.small_jobs import campaign


def left(tmp_path, kind, workload="ring", ranks=8):
    record_entry(campaign(workload, ranks), CampaignEntry(0, (Injected(kind, "gpu5", 1.0),), 0, 1), tmp_path)
    return tmp_path


def analysed(folder, *more):
    command = [sys.executable, "-m", "torch.distributed.flight_recorder.fr_trace", str(folder), "-p", "dump_", *more]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def test_the_analyser_of_torch_names_the_rank_that_never_entered(tmp_path) -> None:
    assert "missing ranks: {5}" in analysed(left(tmp_path, "hang"))


def test_without_its_dump_the_analyser_of_torch_cannot_decide(tmp_path) -> None:
    folder = left(tmp_path, "kill")
    assert not (folder / "dump_5").exists()
    assert "cannot decide" in analysed(folder, "--allow-incomplete-ranks")


@pytest.mark.parametrize("kind", ["hang", "kill", "freeze"])
@pytest.mark.parametrize(("workload", "ranks"), [("ring", 8), ("tp4.pp2.dp2", 16)])
def test_our_analyser_names_it_in_any_case(tmp_path, kind, workload, ranks) -> None:
    assert wavefront(read_dumps(left(tmp_path, kind, workload, ranks), "dump_")).ranks == (5,)


def test_a_dead_link_leaves_dumps_that_blame_no_rank(tmp_path) -> None:
    fault = Injected("dead_link", "gpu5.nvlink-nvswitch_h0", 1.0)
    record_entry(campaign("ring", 8), CampaignEntry(0, (fault,), 0, 1), tmp_path)
    found = wavefront(read_dumps(tmp_path, "dump_"))
    assert found.ranks == ()
    assert found.standing


def test_the_other_formats_have_their_keys(tmp_path) -> None:
    folder = left(tmp_path, "kill")
    line = json.loads((folder / "inspector-0.jsonl").read_text().splitlines()[-1])
    assert line["metadata"]["inspector_output_format_version"] == "v4.0"
    assert line["coll_perf"]["coll"] == "AllReduce"
    busbw, algobw = line["coll_perf"]["coll_busbw_gbs"], line["coll_perf"]["coll_algobw_gbs"]
    assert busbw == pytest.approx(algobw * 2 * 7 / 8, rel=1e-4)
    assert "nccl_bus_bandwidth_gbs{" in (folder / "inspector.prom").read_text()
    world = json.loads((folder / "ras.json").read_text())["communicators"][0]
    assert (world["errors"], world["missing"]) == ("INCOMPLETE", [5])
    assert len(world["ranks"]) == 7
    assert 'device="nvidia5"' in (folder / "dcgm.prom").read_text()
    assert "DCGM_FI_DEV_XID_ERRORS" in (folder / "dcgm.prom").read_text()


def test_a_counter_that_dcgm_does_not_have_is_refused() -> None:
    with pytest.raises(ValueError, match="DCGM_FI_DEV_WHATEVER: no such counter"):
        dcgm_text([DeviceReading("gpu0", "h0", "h100", {"DCGM_FI_DEV_WHATEVER": 1.0})])
    assert dcgm_text([]) == ""
