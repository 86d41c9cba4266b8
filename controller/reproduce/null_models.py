"""What a model that knows nothing of systems would reach: the geometric mean of a column, for every row of it.

A tolerance means something only where such a model fails it. A column is what a table holds of one quantity for one
choice of its words (system, collective, model), over the numbers that it varies; columns of fewer than three rows are
taken together. Asked of tables with a tolerance above 15 %; at or below that a null model has never come near.

A null model is held to the same tolerances as ours, on the rows that have one and were not used for calibration.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import exp, fsum, log
from statistics import median

from controller.reproduce.rows import PublishedRow

WIDE = 0.15
"""Tolerance above which a table needs a null model beside it."""
LEAST_ROWS = 3
"""Fewest rows of a column: of one row the geometric mean is the row."""

Column = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class NullModel:
    """The null model of one table.

    Attributes:
        table: of the paper.
        rows: with a target that it was asked of.
        tolerance: median of theirs.
        error: median of |geometric mean / published - 1|; None where no column has enough rows.
    """

    table: str
    rows: int
    tolerance: float
    error: float | None

    @property
    def informative(self) -> bool:
        """Whether the table tells a model from none: a null model fails its tolerance."""
        return self.error is None or self.error > self.tolerance


def null_models(rows: Sequence[PublishedRow]) -> tuple[NullModel, ...]:
    """The null model of every table with a tolerance above `WIDE`, in the order of the paper."""
    found: list[NullModel] = []
    for table in dict.fromkeys(row.table for row in rows):
        held = [row for row in rows if row.table == table and not row.identity and _number(row) > 0]
        asked = [row for row in held if row.tolerance is not None and not row.calibration]
        tolerances = [row.tolerance for row in asked if row.tolerance is not None]
        if not tolerances or max(tolerances) <= WIDE:
            continue
        errors = [abs(mean / _number(row) - 1) for row in asked if (mean := _mean_of_column(row, held)) is not None]
        found.append(NullModel(table, len(asked), median(tolerances), median(errors) if errors else None))
    return tuple(found)


def _mean_of_column(row: PublishedRow, held: Sequence[PublishedRow]) -> float | None:
    """Geometric mean of the column of `row`; None where even the whole quantity has too few rows."""
    for column in (_narrow, _wide):
        logs = [log(_number(other)) for other in held if column(other) == column(row)]
        if len(logs) >= LEAST_ROWS:
            return exp(fsum(logs) / len(logs))
    return None


def _narrow(row: PublishedRow) -> Column:
    return (*_wide(row), *(f"{key}={value}" for key, value in row.row.items() if isinstance(value, str)))


def _wide(row: PublishedRow) -> Column:
    return row.quantity, row.unit


def _number(row: PublishedRow) -> float:
    """The published value; 0 of a text."""
    return 0.0 if isinstance(row.published, str) else float(row.published)
