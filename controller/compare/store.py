"""Finished rows on disk, one a line, so that a grid that was broken off goes on where it stopped."""

from __future__ import annotations

import json
from importlib.metadata import version
from pathlib import Path
from typing import Any

from controller.compare.measure import Measured
from controller.compare.question import Point
from controller.errors import UserError


class BadStore(UserError):
    """A file of finished rows that cannot be read or written."""


class Store:
    """``rows.jsonl`` in a folder: appended line by line, flushed after each; a torn last line is dropped."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "rows.jsonl"
        self._rows: dict[str, Measured] = {}
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._read()
        except OSError as error:
            raise BadStore(f"{self.path}: {error.strerror or error}; name another folder with --out") from error

    def get(self, point: Point) -> Measured | None:
        """The row of a point that was finished by this version; None when there is none."""
        return self._rows.get(_key(point))

    def put(self, point: Point, row: Measured) -> None:
        """Keeps a row.

        Raises:
            BadStore: the disk refuses.
        """
        self._rows[_key(point)] = row
        line = json.dumps({"key": _key(point), "row": row.to_json()}, separators=(",", ":"), allow_nan=False)
        try:
            with self.path.open("a", encoding="utf-8") as stream:
                stream.write(line + "\n")
        except OSError as error:
            raise BadStore(f"{self.path}: {error.strerror or error}; the rows before are kept") from error

    def _read(self) -> None:
        if not self.path.exists():
            return
        whole = self.path.read_text(encoding="utf-8")
        lines = whole.split("\n")
        if lines[-1]:
            # Somebody was killed while writing: the line has no end, and the next one must not be glued to it.
            self.path.write_text("\n".join([*lines[:-1], ""]), encoding="utf-8")
        for number, line in enumerate(lines[:-1], 1):
            try:
                entry = json.loads(line)
                self._rows[entry["key"]] = _row(entry["row"])
            except (ValueError, KeyError, TypeError) as error:
                raise BadStore(
                    f"{self.path}:{number}: no finished row ({error}); remove the line or the file"
                ) from error


def _key(point: Point) -> str:
    return f"{version('windtunnel')}-{point.digest}"


def _row(fields: dict[str, Any]) -> Measured:
    return Measured(**{**fields, "unpriced": tuple(fields["unpriced"])})
