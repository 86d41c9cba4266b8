"""Pipelines of one and two stages whose times are worked out by hand."""

import numpy as np
import pytest

from controller.diagnosis.errors import BadDump
from controller.diagnosis.formats.what_if_parquet import read_step_trace
from controller.diagnosis.what_if import StepTrace, TracedOperation, what_if


def trace(spans):
    start = {op: np.array([begin]) for op, (begin, _) in spans.items()}
    return StepTrace((0,), start, {op: np.array([end]) for op, (_, end) in spans.items()})


def one_stage(durations):
    """Data ranks that compute and then sum gradients, which takes 1 s once the last has come."""
    last = max(durations)
    spans = {}
    for rank, seconds in enumerate(durations):
        spans[TracedOperation(rank, 0, "forward-compute", 0)] = (0.0, seconds)
        spans[TracedOperation(rank, 0, "grads-reduce-scatter", 0)] = (seconds, last + 1.0)
    return trace(spans)


def test_one_slow_worker_explains_everything() -> None:
    found = what_if(one_stage([2.0, 2.0, 2.0, 4.0]))
    assert found.time_s == pytest.approx(5.0)
    assert found.ideal_s == pytest.approx(3.5)
    assert found.worst_workers == ((3, 0),)
    # Repairing rank 3 leaves those that take 2 s, and itself with the mean of 2.5 s.
    assert found.workers_ratio == pytest.approx(1.0)
    assert found.last_stage_ratio == pytest.approx(1.0)


def test_without_stragglers_there_is_nothing_to_gain() -> None:
    found = what_if(one_stage([2.0, 2.0]))
    assert (found.slowdown_ratio, found.workers_ratio, found.last_stage_ratio) == (1.0, 0.0, 0.0)


def test_a_slow_last_stage_is_told_from_a_slow_worker() -> None:
    spans = {}
    for rank in (0, 1):
        spans[TracedOperation(rank, 0, "forward-compute", 0)] = (0.0, 1.0)
        spans[TracedOperation(rank, 0, "forward-send", 0)] = (1.0, 1.5)
        spans[TracedOperation(rank, 1, "forward-recv", 0)] = (0.0, 1.5)
        spans[TracedOperation(rank, 1, "forward-compute", 0)] = (1.5, 4.5)
    found = what_if(trace(spans))
    assert found.time_s == pytest.approx(4.5)  # 1 + 0.5 + 3: the receiver's second before the send is no transfer
    assert found.ideal_s == pytest.approx(4.5)  # compute 2 + 2, transfer 0.5
    assert found.slowdown_ratio == pytest.approx(1.0)


def write(path, rows):
    arrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    names = ("dp_rank", "stage", "optype", "seq_id", "step", "start_ts", "duration")
    parquet.write_table(arrow.table({name: [row[at] for row in rows] for at, name in enumerate(names)}), path)


def test_a_parquet_file_is_read(tmp_path) -> None:
    rows = [(rank, 0, "forward-compute", 0, step, 0.0, 1.0 + rank) for rank in (0, 1) for step in (3, 9)]
    write(tmp_path / "trace.parquet", rows)
    found = read_step_trace(tmp_path / "trace.parquet")
    assert found.steps == (3, 9)
    assert found.end_at[TracedOperation(1, 0, "forward-compute", 0)].tolist() == [2.0, 2.0]


def test_what_is_no_trace_is_refused(tmp_path) -> None:
    path = tmp_path / "trace.parquet"
    path.write_text("no parquet")
    with pytest.raises(BadDump, match=r"trace\.parquet: not a Parquet file"):
        read_step_trace(path)
    write(path, [(0, 0, "forward-compute", 0, 3, 0.0, 1.0), (0, 0, "forward-compute", 1, 4, 0.0, 1.0)])
    with pytest.raises(BadDump, match="step 4 lacks forward-compute number 0"):
        read_step_trace(path)
    write(path, [(0, 0, "forward-compute", 0, 3, 0.0, 1.0)] * 2)
    with pytest.raises(BadDump, match="is there twice in step 3"):
        read_step_trace(path)
