"""Traces of training steps as ByteDance's straggler analysis publishes them: one row an operation, in Parquet.

Columns: dp_rank, stage, step, optype, seq_id, start_ts [s], duration [s]; others are not needed.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from controller.diagnosis.errors import BadDump
from controller.diagnosis.what_if import StepTrace, TracedOperation
from controller.errors import MissingExtra

COLUMNS = ("dp_rank", "stage", "optype", "seq_id", "step", "start_ts", "duration")
MOST_ROWS = 50_000_000


def read_step_trace(path: Path) -> StepTrace:
    """The trace in a Parquet file.

    Raises:
        MissingExtra: no reader for Parquet is installed.
        BadDump: no Parquet, a missing column, steps of different operations, or times that are no numbers.
    """
    try:
        import pyarrow as arrow
        from pyarrow import parquet
    except ImportError as error:
        raise MissingExtra(f"{path} is Parquet, which needs pyarrow: pip install 'windtunnel[parquet]'") from error
    try:
        file = parquet.ParquetFile(path)
        missing = [name for name in COLUMNS if name not in file.schema_arrow.names]
        if missing:
            raise BadDump(f"{path}: no column {', '.join(missing)}; a trace has {', '.join(COLUMNS)}")
        if file.metadata.num_rows > MOST_ROWS:
            raise BadDump(f"{path} has {file.metadata.num_rows:,} rows; at most {MOST_ROWS:,} are read: cut out steps")
        held = file.read(columns=list(COLUMNS)).to_pydict()
    except (arrow.ArrowException, OSError) as error:
        raise BadDump(f"{path}: not a Parquet file that can be read: {error}; name a trace of steps") from error
    steps = sorted(set(held["step"]))
    number_of = {step: number for number, step in enumerate(steps)}
    start_at: dict[TracedOperation, np.ndarray[tuple[int], np.dtype[np.float64]]] = {}
    end_at: dict[TracedOperation, np.ndarray[tuple[int], np.dtype[np.float64]]] = {}
    for dp_rank, stage, kind, seq, step, start, duration in zip(*(held[name] for name in COLUMNS), strict=True):
        op, number = TracedOperation(dp_rank, stage, kind, seq), number_of[step]
        if op not in start_at:
            start_at[op], end_at[op] = np.full(len(steps), np.nan), np.full(len(steps), np.nan)
        if not np.isnan(start_at[op][number]):
            raise BadDump(f"{path}: {op} is there twice in step {step}; give every operation a seq_id of its own")
        start_at[op][number], end_at[op][number] = start, start + duration
    for op, times in start_at.items():
        if not (np.isfinite(times).all() and np.isfinite(end_at[op]).all()):
            step = steps[int(np.flatnonzero(~np.isfinite(times) | ~np.isfinite(end_at[op]))[0])]
            raise BadDump(f"{path}: step {step} lacks {op}, which other steps have; remove that step from the trace")
    return StepTrace(tuple(steps), start_at, end_at)
