"""Files of measurements: whose they are, what they hold, and which of their rows can be used."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from controller.devices.predict.ask import QUESTIONS
from controller.devices.predict.products import find_product
from controller.devices.predict.question import Question, Value
from controller.devices.predict.shapes import Refusal, Sheet, need_columns, read_csv, shapes_of
from controller.devices.validate.host_dram import compared_points
from controller.devices.validate.limits import why_unphysical
from controller.devices.validate.measured import MeasuredFile, MeasuredRow, positive
from controller.devices.validate.nccl import compared_collectives
from controller.errors import BadMeasurements, BadQuestion
from node.errors import NodeError
from node.hardware.device import DeviceSpec
from node.hardware.operation import ITEM_BYTES
from node.hardware.units import GIGA, KIBI, MEGA

_SUFFIXES: Final = (".csv.gz", ".csv")
_NOT_MODELLED: Final = {
    r"device_specs": "not modelled: figures of datasheets are no measurements",
}


def is_table(path: Path) -> bool:
    """Whether `path` has the name of a CSV file."""
    return path.name.endswith(_SUFFIXES)


def stem_of(name: str) -> str:
    """The name of a CSV file without its ending."""
    suffix = next((each for each in _SUFFIXES if name.endswith(each)), "")
    return name.removesuffix(suffix) if suffix else name


def split_name(stem: str) -> tuple[str, str, str] | None:
    """``h100_sxm_gemm_bf16`` -> device, question and dtype; None when it names no question."""
    for table in sorted(QUESTIONS, key=len, reverse=True):
        match = re.fullmatch(rf"(?P<device>.+?)_{table}(?:_(?P<dtype>[a-z]+\d+))?(?:_graph)?", stem)
        if match:
            return match["device"], table, match["dtype"] or ""
    return None


def read_measured(path: Path, folders: Sequence[str | Path] = (), spec: DeviceSpec | None = None) -> MeasuredFile:
    """Reads the file at `path` and asks the models for each of its rows, on `spec` or on the device that its name says.

    What is wrong in the file is told in the result, since one bad file must not hide the others.
    """
    stem = stem_of(path.name)
    parts = split_name(stem)
    device, table, dtype = parts or ("", stem, "")
    answer = MeasuredFile(path.name, device, f"{table}_{dtype}" if dtype else table)
    try:
        sheet = read_csv(path)
        answer = replace(answer, row_count=len(sheet.rows) + len(sheet.refusals))
        if not answer.row_count:
            raise BadMeasurements(f"{path.name}:1: no row below the line that names the columns")
        if stem == "host_dram_mlc_points":
            return compared_points(sheet, answer)
        if re.fullmatch(r"nccl_\d+gpu_\w+", stem):
            return compared_collectives(sheet, answer, folders)
        if parts is None:
            return replace(answer, unusable=f"{path.name}: {_why_not_modelled(stem)}")
        spec = spec or find_product(device, folders)
        answer = replace(answer, device=spec.product)
        rows, refusals = _asked(sheet, spec, QUESTIONS[table], dtype)
    except (BadMeasurements, NodeError) as error:
        text = str(error)
        return replace(answer, unusable=text if text.startswith(path.name) else f"{path.name}:1: {text}", wrong=True)
    return replace(answer, rows=tuple(rows), refusals=(*sheet.refusals, *refusals))


def _why_not_modelled(stem: str) -> str:
    known = ", ".join(QUESTIONS)
    return next(
        (text for pattern, text in _NOT_MODELLED.items() if re.fullmatch(pattern, stem)),
        f"not modelled: a file is called <device>_<table>_<dtype>.csv[.gz], and the tables are {known}",
    )


def _asked(sheet: Sheet, spec: DeviceSpec, asked: Question, dtype: str) -> tuple[list[MeasuredRow], list[Refusal]]:
    columns, measure = _TIMES[next((name for name in _TIMES if name in sheet.header), "latency_us")]
    need_columns(sheet, columns)
    if dtype and dtype not in ITEM_BYTES:
        raise BadMeasurements(f"{sheet.name}:1: dtype is {dtype!r} in its name; one of {', '.join(ITEM_BYTES)}")
    cells_of = dict(sheet.rows)
    rows, refusals = [], []
    for line, sizes in shapes_of(sheet, asked):
        where = f"{sheet.name}:{line}"
        if isinstance(sizes, Refusal):
            refusals.append(sizes)
            continue
        try:
            measured_s = measure(sizes, cells_of[line])
            predicted = asked.answer(spec, dtype or asked.dtype, sizes)
        except BadQuestion as error:
            refusals.append(Refusal(where, str(error)))
            continue
        why = why_unphysical(spec, predicted, measured_s)
        if why:
            refusals.append(Refusal(where, why))
        else:
            rows.append(MeasuredRow(line, sizes, measured_s, predicted))
    return rows, refusals


def _latency_s(sizes: Mapping[str, Value], cells: Mapping[str, str]) -> float:
    return positive("latency_us", cells) / MEGA


def _rate_s(sizes: Mapping[str, Value], cells: Mapping[str, str]) -> float:
    return _bytes(sizes) / (positive("GBs", cells) * GIGA)


def _bytes(sizes: Mapping[str, Value]) -> int:
    return int(sizes["buffer_KB"]) * KIBI if "buffer_KB" in sizes else int(sizes["bytes"])


_TIMES: Final[Mapping[str, tuple[tuple[str, ...], Callable[[Mapping[str, Value], Mapping[str, str]], float]]]] = {
    "latency_us": (("latency_us",), _latency_s),
    "GBs": (("GBs",), _rate_s),
}
"""Column that says how long a row took -> the columns needed, and the time in seconds."""
