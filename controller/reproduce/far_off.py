"""Rows that are far off, by reason: what the paper's system does that ours does not, as far as it is known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from controller.reproduce.rows import ComparedRow
from controller.reproduce.standing import is_numeric, size_of_error

FACTOR = 2.0
"""Ours over published, or published over ours, from which on a row is far off."""
UNKNOWN = "no mechanism found"


@dataclass(frozen=True, slots=True)
class FarOff:
    """Rows of one paper with one reason.

    Attributes:
        paper, table: where they are from.
        rows: what identifies them.
        least, most: smallest and largest error [ratio]; None where ours is no number.
        why: in a line.
    """

    paper: str
    table: str
    rows: tuple[str, ...]
    least: float | None
    most: float | None
    why: str


def far_off(rows: Sequence[ComparedRow]) -> tuple[FarOff, ...]:
    """Every numeric row that is off by a factor of `FACTOR` or has no value of ours, those of one reason together."""
    groups: dict[tuple[str, str, str], list[ComparedRow]] = {}
    for row in rows:
        if is_numeric(row) and (row.error is None or not 1 / FACTOR < 1 + row.error < FACTOR):
            groups.setdefault((row.paper, row.table, row.why or UNKNOWN), []).append(row)
    found = []
    for (paper, table, why), members in groups.items():
        errors = [row.error for row in members if row.error is not None]
        names = tuple(row.row for row in sorted(members, key=size_of_error, reverse=True))
        found.append(FarOff(paper, table, names, min(errors, default=None), max(errors, default=None), why))
    return tuple(found)
