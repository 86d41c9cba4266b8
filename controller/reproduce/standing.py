"""How a reproduced paper stands: over all of its numeric rows, not over those alone that have a target.

Rows that a knob was set from (``calibration``), rows that compare a declared input with itself (``identity``) and
figures that were recalled (M) count nowhere. A number that we cannot give counts as the farthest of all.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf, isinf
from statistics import median

from controller.reproduce.null_models import NullModel, null_models
from controller.reproduce.rows import ComparedRow, Paper

FAR = 0.25
"""|error| beyond which a row is counted as outside."""

RECALLED = "M"
"""Mark of a figure that nobody has read."""


@dataclass(frozen=True, slots=True)
class Standing:
    """What a paper's rows add up to.

    Attributes:
        paper: its name.
        met, targets: rows within their tolerance, and rows that have one.
        target_median: of |error| over the numeric targets; None without any.
        rows: numeric rows with a published value, but calibration and identity.
        median: of |error| over them; None without any, inf where most have no value of ours.
        outside: of them beyond `FAR`, those without a value of ours included.
        calibration, identity: rows that count nowhere.
        null: null models of its tables with wide tolerances.
        knob: what was chosen with a table in view.
    """

    paper: str
    met: int
    targets: int
    target_median: float | None
    rows: int
    median: float | None
    outside: int
    calibration: int
    identity: int
    null: tuple[NullModel, ...]
    knob: str

    @property
    def uninformative(self) -> tuple[str, ...]:
        """Tables that a null model passes."""
        return tuple(each.table for each in self.null if not each.informative)


def standing(paper: Paper, rows: Sequence[ComparedRow]) -> Standing:
    """How `rows`, all or those that are finished, stand."""
    targets = [row for row in rows if row.ok is not None]
    numeric = [row for row in rows if is_numeric(row)]
    errors = [size_of_error(row) for row in numeric]
    of_targets = [abs(row.error) for row in targets if row.error is not None]
    return Standing(
        paper.name,
        sum(bool(row.ok) for row in targets),
        len(targets),
        median(of_targets) if of_targets else None,
        len(numeric),
        _middle(errors),
        sum(error > FAR for error in errors),
        sum(row.calibration for row in rows),
        sum(row.identity for row in rows),
        null_models(paper.rows),
        paper.knob,
    )


def is_numeric(row: ComparedRow) -> bool:
    """Whether a row counts in the median: it has a published number that is not recalled, and another one of ours."""
    return not isinstance(row.published, str) and row.mark != RECALLED and not row.calibration and not row.identity


def size_of_error(row: ComparedRow) -> float:
    """|ours / published - 1|; inf where ours is no number."""
    return inf if row.error is None else abs(row.error)


def _middle(errors: Sequence[float]) -> float | None:
    if not errors:
        return None
    finite = sorted(errors)
    low, high = finite[(len(finite) - 1) // 2], finite[len(finite) // 2]
    return inf if isinf(high) else (low + high) / 2
