"""A report as one HTML file that opens offline: sections of text, tables, plots and a timeline, and nothing else.

Whatever names or texts a run brings along are escaped; the page loads nothing from anywhere.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

from controller.errors import UserError
from controller.execute.trace import Span, Trace
from controller.report.files import lack

MOST_SPANS = 20_000
"""Of a timeline: enough to see every op of some steps, few enough for a page of a megabyte."""


@dataclass(frozen=True, slots=True)
class Cell:
    """One cell of a table."""

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
    columns: Sequence[str] = ()
    rows: Sequence[Sequence[Cell]] = ()
    svg: str = ""
    timeline: dict[str, Any] | None = field(default=None)


def table_section(title: str, columns: Sequence[str], rows: Sequence[Sequence[object]], note: str = "") -> Section:
    """A section with a table; cells that begin with a digit or a sign are set to the right."""
    cells = [[Cell(text := "-" if cell is None else str(cell), _numeric(text)) for cell in row] for row in rows]
    return Section(title, note, columns, cells)


def timeline_section(trace: Trace, end_at: float) -> Section:
    """The spans of a run on their tracks; the first `MOST_SPANS` of them, which it says.

    Args:
        trace: what happened when.
        end_at: end of the run [s].
    """
    kept = sorted(trace.spans, key=lambda span: span.start_at)[:MOST_SPANS]
    left_out = len(trace.spans) - len(kept) + trace.dropped
    tracks = list(dict.fromkeys(_track(span) for span in sorted(kept, key=lambda span: (span.device, span.track))))
    names = list(dict.fromkeys(span.name for span in kept))
    track_of = {name: index for index, name in enumerate(tracks)}
    name_of = {name: index for index, name in enumerate(names)}
    shown_until = kept[-1].end_at if left_out and kept else end_at
    data = {
        "tracks": tracks,
        "names": names,
        "end": shown_until or 1e-9,
        "spans": [[track_of[_track(span)], name_of[span.name], span.start_at, span.end_at] for span in kept],
    }
    text = json.dumps(data, separators=(",", ":"), allow_nan=False)
    for character, escape in (("<", "\\u003c"), (">", "\\u003e"), ("&", "\\u0026")):
        text = text.replace(character, escape)  # so that no name can end the script
    note = f"The first {len(kept)} spans; {left_out} later ones are left out." if left_out else ""
    return Section("timeline", note, timeline={"data": text, "height": 18 * len(tracks) + 24})


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


def _track(span: Span) -> str:
    return f"{span.device} {span.track}"


def _numeric(text: str) -> bool:
    return text == "-" or text[:1].isdigit() or (text[:1] in "+-" and text[1:2].isdigit())
