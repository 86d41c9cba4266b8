"""A report as one HTML file that opens offline: sections of text, tables, plots and a timeline, and nothing else.

Whatever names or texts a run brings along are escaped; the page loads nothing from anywhere.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

from controller.errors import UserError
from controller.report.files import lack

NUMBER_WORDS = 3
"""Words of a cell with a number and its unit, at most: ``1.5 tokens/s +``."""


@dataclass(frozen=True, slots=True)
class Cell:
    """One cell of a table; numbers are set to the right."""

    text: str
    number: bool


@dataclass(slots=True)
class Section:
    """One heading with what belongs to it; what is empty is not shown.

    Attributes:
        title: heading.
        note: a sentence below it.
        columns, rows: a table.
        svg: a plot.
        timeline: data of the timeline, at most one a page.
    """

    title: str
    note: str = ""
    columns: Sequence[Cell] = ()
    rows: Sequence[Sequence[Cell]] = ()
    svg: str = ""
    timeline: dict[str, Any] | None = field(default=None)


def table_section(title: str, columns: Sequence[str], rows: Sequence[Sequence[object]], note: str = "") -> Section:
    """A section with a table; the numbers of columns that mostly have numbers are set to the right."""
    texts = [["-" if cell is None else str(cell) for cell in row] for row in rows]
    right = [2 * sum(map(_numeric, column)) > len(column) for column in zip(*texts, strict=True)]
    heads = [Cell(*head) for head in zip(columns, right or [False] * len(columns), strict=True)]
    cells = [
        [Cell(text, set_right and _numeric(text)) for text, set_right in zip(row, right, strict=True)] for row in texts
    ]
    return Section(title, note, heads, cells)


def text_section(title: str, rows: Sequence[tuple[str, str]]) -> Section:
    """A section with a name and a text in each row, all set to the left."""
    return Section(title, rows=[[Cell(name, False), Cell(text, False)] for name, text in rows])


def write_page(title: str, sections: Sequence[Section], path: Path) -> None:
    """Writes the page to `path`, whole or not at all.

    Raises:
        UserError: the file cannot be written.
    """
    from jinja2 import Environment, PackageLoader

    pages = Environment(loader=PackageLoader("controller.report", "pages"), autoescape=True, trim_blocks=True)
    text = pages.get_template("run.html.j2").render(title=title, sections=sections, version=version("windtunnel"))
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        partial.write_text(text + "\n", encoding="utf-8")
        os.replace(partial, path)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise UserError(f"the report cannot be written to {path}: {lack(path, error, len(text.encode()))}") from error


def _numeric(text: str) -> bool:
    """Whether a cell has a number, with its unit, and is no sentence that begins with one."""
    is_number = text == "-" or text[:1].isdigit() or (text[:1] in "+-" and text[1:2].isdigit())
    return is_number and len(text.split()) <= NUMBER_WORDS
