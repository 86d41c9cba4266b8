"""Every row beside ours."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from controller.compare.kept import ProgressSink, run_kept
from controller.reproduce.rows import Paper, PublishedRow, Results, Value
from controller.reproduce.training.conditions import NotRun, TrainingRun, run_of
from controller.reproduce.training.published import MeasuredStep, measured_steps
from controller.reproduce.training.steps import FORM, StepFigures, step_figures

EAGER = ("A1", "A34", "A36", "A38", "A40", "D1", "B19")
"""Rows with a target for their step time."""
STEP_TARGET, RATIO_TARGET, MEMORY_TARGET, MPT_TARGET = 0.12, 0.05, 0.08, 0.25
LEAKING = ("B9",)
"""A row whose memory is that of a leak."""
PAIRS = (("B1", "B2"), ("A36", "A38"))
"""Rows of one host that differ by one knob."""
GIBI = 2.0**30
_FOUND: dict[str, StepFigures] = {}


def prepare(
    rows: Sequence[PublishedRow], folder: Path | None, progress: ProgressSink | None, processes: int | None
) -> None:
    """Runs what the rows need; what `folder` has is not run again, and programs that are alike run one by one."""
    wanted = {name for row in rows for name in str(row.row.get("id", row.row.get("rows"))).split(":")}
    found = {
        row.id: run for row in measured_steps() if row.id in wanted and isinstance(run := run_of(row), TrainingRun)
    }
    runs = dict(sorted(found.items(), key=lambda item: (item[1].topology, item[1].arguments, item[1].ranks, item[0])))
    _FOUND.update(run_kept(step_figures, runs, FORM, folder=folder, processes=processes, progress=progress))


def paper() -> Paper:
    """The rows of all sources."""
    rows: list[PublishedRow] = []
    by_id = {row.id: row for row in measured_steps()}
    for row in measured_steps():
        rows += _rows(row)
    for first, second in PAIRS:
        published = _step_s(by_id[first]) / _step_s(by_id[second])
        rows.append(
            PublishedRow(
                "pairs", {"rows": f"{first}:{second}"}, "ratio of step times", published, "1", "P",
                _ratio(first, second), (), RATIO_TARGET,
            )
        )  # fmt: skip
    return Paper(
        "training",
        "measured training steps of PyTorch programs (torchtitan, FSDP blogs, LLM Foundry and others)",
        {},
        tuple(rows),
        prepare=prepare,
    )


def _rows(row: MeasuredStep) -> list[PublishedRow]:
    run = run_of(row)
    named: dict[str, str | int | float] = {"id": row.id, "model": row.model.replace(" ", "-"), "gpus": row.gpus}
    if isinstance(run, NotRun):
        published = _step_s(row)
        value, unit = (published, "s") if published else (row.tflop_per_s, "TFLOP/s")
        quantity = "step time" if published else "throughput"
        return [PublishedRow(row.id[0], named, quantity, value or "-", unit, "P", _reason(run.reason), ())]
    if run.assumed:
        named["assumed"] = "+".join(text.replace(" ", "-") for text in run.assumed)
    target = STEP_TARGET if row.id in EAGER else MPT_TARGET if row.id.startswith("M") else None
    published_s = row.step_s or run.tokens / row.tokens_per_s
    made = [PublishedRow(row.id[0], named, "step time", published_s, "s", "P", _step(row.id), (), target)]
    if row.peak_gib:
        is_eager = row.compile.startswith(("no (eager)", "not stated"))
        memory = MEMORY_TARGET if is_eager and row.id not in LEAKING else None
        made.append(
            PublishedRow(row.id[0], named, "peak memory", row.peak_gib, "GiB", "P", _memory(row.id), (), memory)
        )
    return made


def _step_s(row: MeasuredStep) -> float:
    return row.step_s


def _of(key: str, value: Callable[[StepFigures], float]) -> Callable[[Results], Value]:
    def ours(_: Results) -> Value:
        found = _FOUND.get(key)
        if found is None:
            return "not run yet"
        return value(found) if found.step_s else found.failed

    return ours


def _step(key: str) -> Callable[[Results], Value]:
    return _of(key, lambda found: found.step_s)


def _memory(key: str) -> Callable[[Results], Value]:
    return _of(key, lambda found: found.reserved_bytes / GIBI)


def _ratio(first: str, second: str) -> Callable[[Results], Value]:
    def ours(_: Results) -> Value:
        pair = _FOUND.get(first), _FOUND.get(second)
        if pair[0] is None or pair[1] is None or not pair[0].step_s or not pair[1].step_s:
            return "not run yet"
        return pair[0].step_s / pair[1].step_s

    return ours


def _reason(text: str) -> Callable[[Results], Value]:
    def ours(_: Results) -> Value:
        return text

    return ours
