"""Quantities rounded for people, and tables of text."""

from __future__ import annotations

import math
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import IO

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from node.hardware.units import format_bytes, format_quantity

NOTHING = "-"
PLAIN_WIDTH = 80
"""Columns of a table that goes into a file or a pipe, unless COLUMNS says how wide the reader is."""
PROSE = 30
"""Columns above which a cell counts as prose, which may be folded."""
_ENDINGS = {"_bytes_per_s": "bytes/s", "_bytes": "bytes", "_flop": "FLOP", "_w": "W", "_j": "J", "_s": "s"}
"""What the name of a quantity ends with, and its dimension."""
LEGEND = {
    ".simplex": "simplex: reads and writes take turns",
    ".read": "read, write: the two directions of a tier or port",
    "<": "> and <: a link from its first end to its second, and back",
}
"""What the ending of a resource's name means."""
GAP = 3
"""Columns between two cells."""


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
    # Bytes are decimal in every report, so that a column never mixes MiB and GB.
    if dimension == "bytes":
        return sign + format_bytes(size, digits)
    return sign + format_quantity(float(f"{size:.{digits}g}"), dimension)


def number(value: float, digits: int = 4) -> str:
    """`value` rounded to `digits` significant digits; large ones with commas and not with an exponent."""
    text = f"{value:.{digits}g}"
    return f"{float(text):,.0f}" if "e+" in text else text


def reported(name: str, value: object) -> str:
    """A value that a program reports under `name`, whose ending says the unit: ``_s``, ``_bytes``, ``_ratio``."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    if not math.isfinite(value):
        return str(value)
    if name.endswith("_per_s") and not name.endswith("_bytes_per_s"):
        return f"{number(value)} /s"
    for ending, dimension in _ENDINGS.items():
        if name.endswith(ending):
            return quantity(value, dimension)
    if name.endswith("_ratio"):
        return f"{value:.1%}".replace("%", " %")
    return f"{value:,}" if isinstance(value, int) else number(value)


def percent(ratio: float | None, digits: int = 1, *, sign: str = "+") -> str:
    """A relative difference as ``+3.1 %``; ``-`` for None. With `sign` "" a size without direction, ``3.1 %``."""
    if ratio is None:
        return NOTHING
    if not math.isfinite(ratio):
        raise ValueError(f"{ratio!r} is no result; a report prints finite values only")
    text = f"{ratio * 100:{sign}.{digits}f} %"
    return text if any(digit in text for digit in "123456789") else f"{0:.{digits}f} %"


@dataclass(frozen=True, slots=True)
class TextTable:
    """A table before anybody knows how wide the reader is.

    Attributes:
        columns: headings.
        rows: cells as text, as many in each row as there are columns.
        title: printed above, to the left.
    """

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    title: str = ""


def table(columns: Sequence[str], rows: Iterable[Sequence[object]], title: str = "") -> TextTable:
    """Rows of values under columns.

    Args:
        columns: their headings.
        rows: cells; None is printed as ``-``, everything else as ``str`` says, without any markup.
        title: printed above, to the left.

    Raises:
        ValueError: a row with more or fewer cells than there are columns.
    """
    texts = [tuple(NOTHING if cell is None else str(cell) for cell in row) for row in rows]
    for number, row in enumerate(texts, 1):
        if len(row) != len(columns):
            raise ValueError(f"row {number} of {title or 'a table'} has {len(row)} cells for {len(columns)} columns")
    return TextTable(tuple(columns), tuple(texts), title)


def console(stream: IO[str] | None = None) -> Console:
    """Where tables are printed: standard output unless `stream` is given; plain text where nobody watches."""
    watched = Console(file=stream, highlight=False, markup=False, emoji=False)
    if watched.is_terminal:
        return watched
    width = shutil.get_terminal_size((PLAIN_WIDTH, 24)).columns
    return Console(file=stream, highlight=False, markup=False, emoji=False, width=width, color_system=None)


def legend(names: Sequence[str]) -> str:
    """What the endings of these names of resources mean; "" where none needs a word."""
    ends = {".simplex": (".simplex",), ".read": (".read", ".write"), "<": ("<", ">")}
    return "; ".join(LEGEND[key] for key, found in ends.items() if any(name.endswith(found) for name in names))


def without_empty(made: TextTable) -> TextTable:
    """The table without the columns in which no row has anything."""
    kept = [index for index in range(len(made.columns)) if any(row[index] not in ("", NOTHING) for row in made.rows)]
    rows = tuple(tuple(row[index] for index in kept) for row in made.rows)
    return TextTable(tuple(made.columns[index] for index in kept), rows, made.title) if made.rows else made


def say(text: str, stream: IO[str] | None = None) -> None:
    """Prints a sentence, folded between words where the reader's lines end."""
    console(stream).print(Text(text))


def show(made: TextTable, stream: IO[str] | None = None) -> None:
    """Prints a table as wide as the reader is.

    A table that is too wide first folds its prose; if that is not enough its columns are printed in several tables
    below each other, each with the first column, so that no number is broken over two lines. A column whose every cell
    starts with a digit or a sign is set to the right.
    """
    target = console(stream)
    natural = [_width(made, index) for index in range(len(made.columns))]
    for number, block in enumerate(_blocks(natural, target.width)):
        if number:
            target.print()
        title = f"{made.title} (continued)" if number and made.title else made.title
        target.print(_rendered(made, block, title))


def _blocks(natural: Sequence[int], room: int) -> list[list[int]]:
    """The columns of each of the tables that stand below each other."""
    least = [min(width, PROSE) for width in natural]
    blocks: list[list[int]] = [[]]
    for index in range(len(natural)):
        taken = [least[column] for column in [*blocks[-1], index]]
        if len(blocks[-1]) > 1 and sum(taken) + GAP * len(taken) > room:
            blocks.append([0])
        blocks[-1].append(index)
    return blocks


def _rendered(made: TextTable, columns: Sequence[int], title: str) -> Table:
    drawn = Table(
        title=Text(title, style="bold") if title else None, title_justify="left", box=SIMPLE_HEAD, show_edge=False
    )
    for index in columns:
        numeric = bool(made.rows) and all(_numeric(row[index]) for row in made.rows)
        is_prose = _width(made, index) > PROSE
        drawn.add_column(
            Text(made.columns[index]), justify="right" if numeric else "left", overflow="fold", no_wrap=not is_prose
        )
    for row in made.rows:
        drawn.add_row(*(Text(row[index]) for index in columns))
    return drawn


def _width(made: TextTable, index: int) -> int:
    """Columns that the widest cell of a column takes."""
    return max(len(text) for text in (made.columns[index], *(row[index] for row in made.rows)))


def _numeric(text: str) -> bool:
    return text == NOTHING or text[:1].isdigit() or (text[:1] in "+-" and text[1:2].isdigit())
