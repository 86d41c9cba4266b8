"""The trace file: processes, tracks, lanes, counters, and that it is whole or absent."""

import itertools
import json
import os
import threading
from pathlib import Path

import pytest

from controller.errors import UserError
from controller.execute.critical import PathSegment
from controller.execute.trace import Level, Span, Trace
from controller.experiment.run import run_experiment
from controller.experiment.run_spec import RunSpec
from controller.report.chrome_trace import write_chrome_trace


def example() -> Trace:
    trace = Trace()
    trace.add(Span("gpu", "stream", "linear", 0.0, 2e-3, {"op": "linear", "bytes": 8.0}))
    trace.add(Span("csd0", "pcie-root>", "push", 1e-3, 3e-3, {"from": "gpu.hbm/k", "to": "csd0.flash/k"}))
    trace.add(Span("csd0", "pcie-root>", "push", 2e-3, 4e-3, {"from": "gpu.hbm/v", "to": "csd0.flash/v"}))
    trace.add(Span("csd0", "pcie-root>", "push", 3e-3, 5e-3))
    trace.levels.append(Level("gpu", "hbm", 0.0, 4096))
    return trace


def events(path):
    return json.loads(path.read_text())["traceEvents"]


def test_processes_follow_the_topology_and_are_named(tmp_path):
    write_chrome_trace(example(), tmp_path / "t.json", ["csd0", "gpu", "cpu"])
    names = {e["pid"]: e["args"]["name"] for e in events(tmp_path / "t.json") if e["name"] == "process_name"}
    assert names == {1: "csd0", 2: "gpu", 3: "cpu"}, "an idle device has its process too"


def test_overlapping_spans_of_one_track_lie_in_lanes_that_never_overlap(tmp_path):
    write_chrome_trace(example(), tmp_path / "t.json")
    found = events(tmp_path / "t.json")
    tracks = {(e["pid"], e["tid"]): e["args"]["name"] for e in found if e["name"] == "thread_name"}
    assert list(tracks.values()) == ["stream", "pcie-root>", "pcie-root> (2)"]
    by_track = {}
    for event in found:
        if event["ph"] == "X":
            by_track.setdefault((event["pid"], event["tid"]), []).append((event["ts"], event["ts"] + event["dur"]))
    for slices in by_track.values():
        slices.sort()
        assert all(before[1] <= after[0] for before, after in itertools.pairwise(slices))
    assert sum(map(len, by_track.values())) == 4


def test_times_are_microseconds_of_device_time_and_details_are_arguments(tmp_path):
    write_chrome_trace(example(), tmp_path / "t.json")
    first = next(e for e in events(tmp_path / "t.json") if e["ph"] == "X")
    assert (first["ts"], first["dur"], first["cat"]) == (0.0, 2000.0, "linear")
    assert first["args"] == {"op": "linear", "bytes": 8.0}


def test_occupancy_is_a_counter_of_its_device(tmp_path):
    write_chrome_trace(example(), tmp_path / "t.json")
    counter = next(e for e in events(tmp_path / "t.json") if e["ph"] == "C")
    assert (counter["name"], counter["args"], counter["pid"]) == ("hbm occupancy", {"bytes": 4096}, 1)


def test_dropped_spans_are_told_in_the_file_and_to_the_caller(tmp_path):
    trace = example()
    trace.limit = 4
    trace.add(Span("gpu", "stream", "lost", 1.0, 2.0))
    written = write_chrome_trace(trace, tmp_path / "t.json")
    assert (written.span_count, written.dropped_count) == (4, 1)
    assert "1 later ones were dropped" in str(written)
    document = json.loads((tmp_path / "t.json").read_text())
    assert document["otherData"]["dropped_spans"] == 1
    assert any(e["ph"] == "i" and "1 spans dropped" in e["name"] for e in document["traceEvents"])


def test_equal_traces_give_equal_bytes(tmp_path):
    for name in ("a", "b"):
        write_chrome_trace(example(), tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_a_trace_is_whole_or_absent(tmp_path):
    path = tmp_path / "t.json"
    path.write_text("old")
    broken = example()
    broken.add(Span("gpu", "stream", "nan", float("nan"), 1.0))
    with pytest.raises(ValueError):
        write_chrome_trace(broken, path)
    assert path.read_text() == "old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["t.json"]


def test_a_folder_that_is_not_there_is_the_users_error(tmp_path):
    with pytest.raises(UserError, match=r"cannot be written to .*No such file or directory"):
        write_chrome_trace(example(), tmp_path / "missing" / "t.json")


def test_what_is_no_regular_file_is_written_and_not_replaced(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = threading.Thread(target=lambda: received.append(pipe.read_text()))
    received = []
    reader.start()
    write_chrome_trace(example(), pipe)
    reader.join(10)
    assert pipe.is_fifo()
    assert json.loads(received[0])["traceEvents"]


def test_a_link_keeps_its_place_and_its_target_is_written(tmp_path):
    (tmp_path / "link.json").symlink_to(tmp_path / "real.json")
    write_chrome_trace(example(), tmp_path / "link.json")
    assert (tmp_path / "link.json").is_symlink()
    assert json.loads((tmp_path / "real.json").read_text())["traceEvents"]


def test_an_arrow_leads_from_what_an_op_waited_for_to_the_op(tmp_path):
    trace = example()
    trace.arrows.append((0, 2))
    write_chrome_trace(trace, tmp_path / "t.json")
    found = events(tmp_path / "t.json")
    start, end = (next(e for e in found if e["ph"] == phase) for phase in "sf")
    assert start["id"] == end["id"] and end["bp"] == "e"
    slices = {(e["pid"], e["tid"]): e for e in found if e["ph"] == "X"}
    assert slices[start["pid"], start["tid"]]["name"] == "linear"
    assert start["ts"] == pytest.approx(2000.0, abs=0.01) and start["ts"] < 2000.0
    assert end["ts"] == 2000.0


def test_the_critical_path_is_a_process_above_the_devices(tmp_path):
    write_chrome_trace(example(), tmp_path / "t.json", ["gpu"], [PathSegment("linear", "gpu", 0.0, 2e-3)])
    found = events(tmp_path / "t.json")
    (pid,) = {e["pid"] for e in found if e["name"] == "process_name" and e["args"]["name"] == "critical path"}
    assert [e["args"]["sort_index"] for e in found if e["name"] == "process_sort_index" and e["pid"] == pid] == [-1]
    (path,) = [e for e in found if e["ph"] == "X" and e["pid"] == pid]
    assert (path["name"], path["ts"], path["dur"]) == ("linear", 0.0, 2000.0)


def test_a_run_records_arrows_that_go_forward_in_time():
    request = RunSpec("flexgen", "tiny-opt", batch=2, prompt_tokens=8, output_tokens=3, trace=Path("trace.json"))
    experiment = run_experiment(request)
    trace = experiment.trace
    assert trace.arrows
    assert all(trace.spans[one].end_at <= trace.spans[other].start_at * (1 + 1e-9) for one, other in trace.arrows)
    assert experiment.explanation.segments[-1].end_at == pytest.approx(experiment.outcome.time_s)
