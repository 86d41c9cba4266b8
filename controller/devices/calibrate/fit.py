"""Fits the constants of a sheet that a table of measurements speaks of.

Method: coordinate search in the logarithm of each constant, with steps that halve, on the loss
median + 0.35 x 90th percentile of |ln(model / measured)| over the rows of the fit. Few constants and a smooth loss need
nothing cleverer, and the same file always gives the same constants.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import exp, log
from pathlib import Path
from statistics import median
from typing import Final

from controller.devices.calibrate.split import is_fitted
from controller.devices.predict.ask import QUESTIONS
from controller.devices.predict.question import Question
from controller.devices.validate.compare import Slice, slices
from controller.devices.validate.files import read_measured, split_name, stem_of
from controller.devices.validate.measured import MeasuredFile, MeasuredRow
from controller.errors import BadMeasurements
from node.hardware.catalog import apply_overrides
from node.hardware.device import DeviceSpec
from node.hardware.prefill_attention import HEAD_FLOP, attention_rate
from node.hardware.sheet import known_paths, skeleton_of
from node.hardware.units import format_quantity

CONSTANTS: Final[Mapping[str, tuple[str, ...]]] = {
    "gemm": ("tensor.gemm_efficiency", "tensor.memory_efficiency", "tensor.sustained_efficiency"),
    "decode_attention": ("tensor.decode_efficiency",),
    "prefill_attention": ("tensor.prefill_efficiency",),
    "memory": ("vector.memory_efficiency",),
    "rms_norm": ("vector.memory_efficiency",),
    "adam": ("vector.memory_efficiency",),
    "p2p_read": ("flash.read", "flash.read_latency"),
    "drive": ("flash.read", "flash.read_latency"),
    "copy": ("pcie.read", "pcie.write"),
}
"""Table -> constants that it can tell."""

LARGEST_EFFICIENCY: Final = 1.0
MOST_ROWS: Final = 1000
"""Rows that a step of the search looks at; more are thinned out evenly."""
_ATTENTION_SHARE: Final = "tensor.prefill_efficiency"
_FIRST_STEP, _LAST_STEP = 0.2, 0.004


@dataclass(frozen=True, slots=True)
class FittedConstants:
    """Constants fitted to one file.

    Attributes:
        file: its name.
        table: as in the file's name.
        constants: path -> quantity with unit.
        fitted, left_out: error on the rows of the fit, and on the others.
        before: error on the others before the fit.
    """

    file: str
    table: str
    constants: Mapping[str, str]
    fitted: Slice
    left_out: Slice
    before: Slice


def fit_file(path: Path, spec: DeviceSpec) -> tuple[FittedConstants, DeviceSpec, MeasuredFile]:
    """Fits `spec` to the file at `path`; its name says the table, `spec` the device.

    Returns:
        The fit, `spec` with the constants, and the file as it was read, with what was left out.

    Raises:
        BadMeasurements: the file cannot be used, has too few rows, or its table tells no constant.
    """
    parts = split_name(stem_of(path.name))
    if parts is None or parts[1] not in CONSTANTS:
        raise BadMeasurements(
            f"{path.name}: its name says no table that tells a constant; call it <device>_<table>_<dtype>.csv[.gz] "
            f"with one of {', '.join(CONSTANTS)}"
        )
    measured = read_measured(path, spec=spec)
    if measured.unusable:
        raise BadMeasurements(measured.unusable)
    fitted = [row for row in measured.rows if is_fitted(row.sizes)]
    others = [row for row in measured.rows if not is_fitted(row.sizes)]
    if len(fitted) < 3 or len(others) < 3:
        unusable = f"; {measured.dropped} cannot, the first is {measured.refusals[0]}" if measured.refusals else ""
        raise BadMeasurements(
            f"{path.name}: {len(measured.rows)} rows can be used; a fit needs more, as it checks itself on half of them"
            f"{unusable}"
        )
    asked, dtype = QUESTIONS[parts[1]], parts[2] or QUESTIONS[parts[1]].dtype
    thinned = fitted[:: -(-len(fitted) // MOST_ROWS)]
    constants = _search(spec, asked, dtype, thinned, _present(spec, CONSTANTS[asked.name]))
    result = apply_overrides(spec, constants)
    fit = FittedConstants(
        path.name,
        measured.table,
        constants,
        _sliced(measured, "fitted", result, asked, dtype, fitted),
        _sliced(measured, "left out", result, asked, dtype, others),
        _sliced(measured, "left out, before", spec, asked, dtype, others),
    )
    return fit, result, measured


def _present(spec: DeviceSpec, paths: Sequence[str]) -> list[str]:
    return [path for path in paths if path in spec.constants or path == _ATTENTION_SHARE]


def _first_value(spec: DeviceSpec, path: str) -> float:
    """The sheet's value, or what the model of attention takes where a sheet leaves its share out."""
    if path in spec.constants:
        return spec.constants[path].value
    return attention_rate(spec.computes["tensor"].constants, 1.0, HEAD_FLOP)


def _search(
    spec: DeviceSpec, asked: Question, dtype: str, rows: Sequence[MeasuredRow], paths: Sequence[str]
) -> dict[str, str]:
    dimensions = known_paths(skeleton_of(spec))
    values = {path: _first_value(spec, path) for path in paths}

    def texts(given: Mapping[str, float]) -> dict[str, str]:
        return {path: format_quantity(float(f"{value:.4g}"), dimensions[path]) for path, value in given.items()}

    def loss(given: Mapping[str, float]) -> float:
        changed = apply_overrides(spec, texts(given))
        errors = sorted(abs(log(asked.ask(changed, dtype, row.sizes).time_s / row.measured_s)) for row in rows)
        return median(errors) + 0.35 * errors[int(0.9 * (len(errors) - 1))]

    best, step = loss(values), _FIRST_STEP
    while step > _LAST_STEP:
        moved = False
        for path in paths:
            for direction in (1.0, -1.0):
                value = values[path] * exp(direction * step)
                if path.endswith("_efficiency"):
                    value = min(value, LARGEST_EFFICIENCY)
                tried = loss({**values, path: value})
                if tried < best - 1e-9:
                    best, values[path], moved = tried, value, True
                    break
        if not moved:
            step /= 2
    return texts(values)


def _sliced(
    measured: MeasuredFile, name: str, spec: DeviceSpec, asked: Question, dtype: str, rows: Sequence[MeasuredRow]
) -> Slice:
    predicted = tuple(
        MeasuredRow(row.line, row.sizes, row.measured_s, asked.ask(spec, dtype, row.sizes)) for row in rows
    )
    part = MeasuredFile(measured.name, measured.device, measured.table, predicted, (), len(predicted))
    whole = slices(part)[0]
    return Slice(whole.file, whole.device, whole.table, name, whole.rows, 0, whole.median, whole.p90, whole.bias)
