"""What a file of measurements holds, once it has been read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from controller.devices.predict.question import Prediction, Value
from controller.devices.predict.shapes import Refusal
from controller.devices.validate.repeatability import Repeatability
from controller.errors import BadQuestion

LEAST: Final = 1e-12
MOST: Final = 1e15
"""What a measured number lies between, whatever its unit: beyond it is a mistake, and ratios stop being numbers."""


@dataclass(frozen=True, slots=True)
class MeasuredRow:
    """One row that can be used: its line, the sizes of its question, what was measured [s] and what the models say."""

    line: int
    sizes: Mapping[str, Value]
    measured_s: float
    predicted: Prediction

    @property
    def error(self) -> float:
        """Model over measured, minus 1."""
        return self.predicted.time_s / self.measured_s - 1.0


@dataclass(frozen=True, slots=True)
class MeasuredFile:
    """One file of a folder.

    Attributes:
        name: of the file.
        device: name of the sheet that stands for it, or as the file says where there is none.
        table: question and dtype as in the file's name (``gemm_bf16``).
        rows: that can be used.
        refusals: rows that cannot, and why.
        row_count: rows of the file, used or not.
        unusable: why nothing of the file can be used; empty when it can.
        wrong: `unusable` is a mistake in the file or its name, not a table that no model covers.
        repeatability: of the measurement, where the README beside the file states it.
    """

    name: str
    device: str
    table: str
    rows: tuple[MeasuredRow, ...] = ()
    refusals: tuple[Refusal, ...] = ()
    row_count: int = 0
    unusable: str = ""
    wrong: bool = False
    repeatability: Repeatability | None = None

    @property
    def dropped(self) -> int:
        """Rows of the file that are not used."""
        return self.row_count - len(self.rows)


def positive(column: str, cells: Mapping[str, str]) -> float:
    """The number in `column`.

    Raises:
        BadQuestion: not a number, or not above 0.
    """
    text = cells[column]
    try:
        value = float(text)
    except ValueError:
        raise BadQuestion(f"{column} is {text!r}, which is no number") from None
    if not 0.0 < value < float("inf"):
        raise BadQuestion(f"{column} is {text}; it must be above 0 and finite")
    if not LEAST <= value <= MOST:
        raise BadQuestion(f"{column} is {text}; a measured value is between {LEAST:g} and {MOST:g}, in any unit")
    return value
