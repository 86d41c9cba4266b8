"""CSV files of shapes and measurements, plain or gzipped: rows with the line that they came from.

A row that cannot be used becomes a `Refusal` with file and line; whoever reads decides what to do about it, and nothing
is left out in silence.
"""

from __future__ import annotations

import csv
import gzip
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from controller.errors import BadMeasurements, BadQuestion
from controller.predict.question import Column, Question, Value


@dataclass(frozen=True, slots=True)
class Refusal:
    """Something that was left out.

    Attributes:
        where: ``file:line``.
        why: one sentence.
    """

    where: str
    why: str

    def __str__(self) -> str:
        return f"{self.where}: {self.why}"


@dataclass(frozen=True, slots=True)
class Sheet:
    """A CSV file as text: header and rows with their line numbers."""

    name: str
    header: tuple[str, ...]
    rows: tuple[tuple[int, dict[str, str]], ...]
    refusals: tuple[Refusal, ...]


def read_csv(path: Path, name: str = "") -> Sheet:
    """The CSV file at `path`; `name` stands for it in messages.

    Raises:
        BadMeasurements: it cannot be read, is empty, or names a column twice.
    """
    name = name or path.name
    try:
        raw = path.read_bytes()
        text = (gzip.decompress(raw) if path.suffix == ".gz" else raw).decode("utf-8-sig")
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        raise BadMeasurements(f"{name}:1: cannot be read: {error}") from None
    reader = csv.reader(text.splitlines())
    header = tuple(cell.strip() for cell in next(reader, ()))
    if not header:
        raise BadMeasurements(f"{name}:1: the file is empty; its first line names the columns")
    for cell in header:
        if header.count(cell) > 1:
            raise BadMeasurements(f"{name}:1: column {cell!r} is there twice")
    rows, refusals = [], []
    for cells in reader:
        if not cells:
            continue
        if len(cells) != len(header):
            why = f"{len(cells)} cells for {len(header)} columns"
            refusals.append(Refusal(f"{name}:{reader.line_num}", why))
            continue
        rows.append((reader.line_num, dict(zip(header, map(str.strip, cells), strict=True))))
    return Sheet(name, header, tuple(rows), tuple(refusals))


def need_columns(sheet: Sheet, columns: Sequence[str]) -> None:
    """Checks that `sheet` has every one of `columns`.

    Raises:
        BadMeasurements: the first that is missing, with line 1 of the file.
    """
    for column in columns:
        if column not in sheet.header:
            raise BadMeasurements(
                f"{sheet.name}:1: column {column!r} is missing; the file has {', '.join(sheet.header)}"
            )


def shapes_of(sheet: Sheet, asked: Question) -> Iterator[tuple[int, dict[str, Value] | Refusal]]:
    """The sizes of every row, or why a row has none; the line number first.

    Raises:
        BadMeasurements: a column without default is missing.
    """
    need_columns(sheet, [column.name for column in asked.columns if column.default is None])
    present = [column for column in asked.columns if column.name in sheet.header]
    for line, cells in sheet.rows:
        where = f"{sheet.name}:{line}"
        try:
            yield line, asked.complete({column.name: _value(column, cells) for column in present})
        except BadQuestion as error:
            yield line, Refusal(where, str(error))


def _value(column: Column, cells: Mapping[str, str]) -> Value | None:
    text = cells[column.name]
    if column.choices or column.word or not text:
        return text or None
    try:
        number = float(text)
    except ValueError:
        raise BadQuestion(f"{column.name} is {text!r}, which is no number") from None
    if number != number or number in (float("inf"), float("-inf")) or number != int(number):
        raise BadQuestion(f"{column.name} is {text!r}; it must be a whole number")
    return int(number)
