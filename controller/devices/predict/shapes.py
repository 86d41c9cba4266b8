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
from io import BytesIO
from pathlib import Path
from typing import Final

from controller.devices.predict.question import Column, Question, Value
from controller.errors import BadMeasurements, BadQuestion

MOST_BYTES: Final = 1 << 30
"""Of a file when unpacked."""


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
        text = (_unpacked(raw) if path.suffix == ".gz" else raw).decode("utf-8-sig")
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        raise BadMeasurements(f"{name}:1: cannot be read: {error}") from None
    lines = _cells(text, name)
    header = tuple(cell.strip() for cell in lines[0][1]) if lines else ()
    if not header:
        raise BadMeasurements(f"{name}:1: the file is empty; its first line names the columns")
    for cell in header:
        if header.count(cell) > 1:
            raise BadMeasurements(f"{name}:1: column {cell!r} is there twice")
    rows, refusals = [], []
    for line, cells in lines[1:]:
        if not cells:
            continue
        if len(cells) != len(header):
            refusals.append(Refusal(f"{name}:{line}", f"{len(cells)} cells for {len(header)} columns"))
            continue
        rows.append((line, dict(zip(header, map(str.strip, cells), strict=True))))
    return Sheet(name, header, tuple(rows), tuple(refusals))


def _unpacked(raw: bytes) -> bytes:
    with gzip.open(BytesIO(raw)) as packed:
        found = packed.read(MOST_BYTES + 1)
    if len(found) > MOST_BYTES:
        raise OSError(f"it holds more than {MOST_BYTES} bytes when unpacked; split it")
    return found


def _cells(text: str, name: str) -> list[tuple[int, list[str]]]:
    """Every line with its number, split into cells.

    Raises:
        BadMeasurements: a cell too long for a number.
    """
    reader = csv.reader(text.splitlines())
    try:
        return [(reader.line_num, cells) for cells in reader]
    except csv.Error as error:
        raise BadMeasurements(f"{name}:{reader.line_num}: cannot be read: {error}") from None


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
