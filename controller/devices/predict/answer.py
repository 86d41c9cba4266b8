"""Answers as plain values: for one shape, and for every row of a CSV file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from controller.devices.predict.question import Question, Value
from controller.devices.predict.shapes import Refusal, read_csv, shapes_of
from controller.errors import BadQuestion
from node.hardware.device import DeviceSpec

MODEL_COLUMN: Final = "model_us"
"""Column that a file of shapes comes back with [us]."""


def answer_one(asked: Question, spec: DeviceSpec, dtype: str, given: Mapping[str, Value | None]) -> dict[str, Any]:
    """The answer for one shape: time, bound, parts [s], and which constants of the sheet are assumed.

    Raises:
        BadQuestion: the sizes cannot be, or no such dtype.
    """
    sizes = asked.complete(given)
    found = asked.answer(spec, dtype, sizes)
    rate = found.flop / found.time_s if found.flop and found.time_s else None
    return {
        "question": asked.name,
        "device": spec.product,
        "dtype": dtype,
        "sizes": sizes,
        "time_s": found.time_s,
        MODEL_COLUMN: found.time_s * 1e6,
        "bound": found.bound,
        "parts_s": dict(found.parts),
        "flop": found.flop,
        "flop_per_s": rate,
        "peak_flop_per_s": found.peak_flop_per_s or None,
        "peak_ratio": None if rate is None else rate / found.peak_flop_per_s,
        "moved_bytes": found.moved_bytes,
        "assumed": [path for path, constant in spec.constants.items() if constant.kind == "assumed"],
    }


def answer_file(
    asked: Question, path: Path, spec: DeviceSpec, dtype: str
) -> tuple[tuple[str, ...], list[tuple[str, ...]], list[Refusal]]:
    """The CSV file at `path` with the column ``model_us`` (and ``bound``) at its end.

    Returns:
        Header, rows as text, and the rows that have no answer, whose new cells are empty.

    Raises:
        BadMeasurements: the file cannot be read or lacks a column.
    """
    sheet = read_csv(path)
    kept = tuple(name for name in sheet.header if name not in (MODEL_COLUMN, "bound"))
    cells_of = dict(sheet.rows)
    rows, refusals = [], list(sheet.refusals)
    for line, sizes in shapes_of(sheet, asked):
        time_text = bound = ""
        if isinstance(sizes, Refusal):
            refusals.append(sizes)
        else:
            try:
                found = asked.answer(spec, dtype, sizes)
                time_text, bound = f"{found.time_s * 1e6:.6g}", found.bound
            except BadQuestion as error:
                refusals.append(Refusal(f"{sheet.name}:{line}", str(error)))
        rows.append((*(cells_of[line][name] for name in kept), time_text, bound))
    return (*kept, MODEL_COLUMN, "bound"), rows, refusals
