"""Quantities rounded for people, and tables of text."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import IO

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from node.hardware.units import format_quantity

NOTHING = "-"
PLAIN_WIDTH = 200
"""Columns of a table that goes into a file or a pipe, where nothing says how wide the reader is."""


def quantity(value: float | None, dimension: str, digits: int = 4) -> str:
    """`value` with a unit that suits its size, rounded to `digits` significant digits; ``-`` for None.

    Args:
        value: in base units of `dimension`; negative is allowed (a difference).
        dimension: as in `node.hardware.units` (``s``, ``bytes``, ``bytes/s``, ``FLOP/s``, ...).
        digits: significant digits.

    Raises:
        ValueError: `value` is infinite or not a number, which no report may print.
    """
    if value is None:
        return NOTHING
    if not math.isfinite(value):
        raise ValueError(f"{value!r} {dimension} is no result; a report prints finite values only")
    sign = "-" if value < 0 else ""
    size = abs(value)
    exact = format_quantity(size, dimension)
    if _digits(exact) <= digits:
        return sign + exact
    # Rounded bytes are decimal: as a size, 2 TB would come out as its even number of KiB.
    rounded = float(f"{size:.{digits}g}")
    if dimension == "bytes":
        return sign + format_quantity(rounded, "bytes/s").removesuffix("/s")
    return sign + format_quantity(rounded, dimension)


def percent(ratio: float | None, digits: int = 1, *, sign: str = "+") -> str:
    """A relative difference as ``+3.1 %``; ``-`` for None. With `sign` "" a size without direction, ``3.1 %``."""
    if ratio is None:
        return NOTHING
    if not math.isfinite(ratio):
        raise ValueError(f"{ratio!r} is no result; a report prints finite values only")
    return f"{ratio * 100:{sign}.{digits}f} %"


def table(columns: Sequence[str], rows: Iterable[Sequence[object]], title: str = "") -> Table:
    """Rows of values under columns; a column whose every cell starts with a digit or sign is set to the right.

    Args:
        columns: their headings.
        rows: cells; None is printed as ``-``, everything else as ``str`` says, without any markup.
        title: printed above, to the left.

    Raises:
        ValueError: a row with more or fewer cells than there are columns.
    """
    texts = [[NOTHING if cell is None else str(cell) for cell in row] for row in rows]
    for number, row in enumerate(texts, 1):
        if len(row) != len(columns):
            raise ValueError(f"row {number} of {title or 'a table'} has {len(row)} cells for {len(columns)} columns")
    made = Table(
        title=Text(title, style="bold") if title else None, title_justify="left", box=SIMPLE_HEAD, show_edge=False
    )
    for index, name in enumerate(columns):
        numeric = bool(texts) and all(_numeric(row[index]) for row in texts)
        made.add_column(Text(name), justify="right" if numeric else "left", overflow="fold")
    for row in texts:
        made.add_row(*map(Text, row))
    return made


def console(stream: IO[str] | None = None) -> Console:
    """Where tables are printed: standard output unless `stream` is given; plain text where nobody watches."""
    watched = Console(file=stream, highlight=False, markup=False, emoji=False)
    if watched.is_terminal:
        return watched
    return Console(file=stream, highlight=False, markup=False, emoji=False, width=PLAIN_WIDTH, color_system=None)


def show(made: Table, stream: IO[str] | None = None) -> None:
    """Prints a table."""
    console(stream).print(made)


def _numeric(text: str) -> bool:
    return text == NOTHING or text[:1].isdigit() or (text[:1] in "+-" and text[1:2].isdigit())


def _digits(text: str) -> int:
    return sum(character.isdigit() for character in text.split(" ")[0])
