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


def test_the_verbose_inspector_says_when_each_collective_began_and_ended(tmp_path) -> None:
    lines = (left(tmp_path, "kill") / "inspector-0.jsonl").read_text().splitlines()
    for line in map(json.loads, lines):
        trace = line["event_trace_ts"]
        assert trace["coll_stop_ts"] - trace["coll_start_ts"] == pytest.approx(
            line["coll_perf"]["coll_exec_time_us"], abs=1
        )
        (kernel,) = trace["kernel_events"]
        assert kernel["channel_id"] == 0 and kernel["kernel_stop_ts"] == trace["coll_stop_ts"]


def test_the_text_of_ras_names_whose_counts_differ_and_who_is_missing(tmp_path) -> None:
    text = (left(tmp_path / "hang", "hang") / "ras.txt").read_text()
    assert "    0         1         1         8         8         8   RUNNING  MISMATCH" in text
    assert "7 ranks have launched up to operation 5" in text and "1 ranks have launched up to operation 4" in text
    assert "Rank 5 -- gpu5 on node" in text
    text = (left(tmp_path / "kill", "kill") / "ras.txt").read_text()
    assert "INCOMPLETE\n    Missing communicator data from 1 ranks\n      Rank 5 -- gpu5" in text


def test_the_timeline_has_every_operation_the_counts_and_the_error(tmp_path) -> None:
    events = json.loads((left(tmp_path, "kill") / "timeline.json").read_text())["traceEvents"]
    drawn = [event for event in events if event["ph"] == "X"]
    assert {event["args"]["state"] for event in drawn} == {"completed", "never ended"}
    assert sum(event["args"]["state"] == "never ended" for event in drawn) == 7  # the killed one never came
    last = {event["name"]: event["args"]["entered"] for event in events if event["ph"] == "C"}
    assert last["rank 5 operations"] == 4 and last["rank 0 operations"] == 5
    (error,) = [event for event in events if event["ph"] == "i"]
    assert error["name"].startswith("DCGM_FI_DEV_XID_ERRORS") and error["tid"] == 5
