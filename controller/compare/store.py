"""Finished results on disk, one a line, so that long work that was broken off goes on where it stopped."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from controller.compare.digest import code_digest
from controller.errors import UserError


class BadStore(UserError):
    """A file of finished results that cannot be read or written."""


class ResultStore:
    """``rows.jsonl`` in a folder: appended a line at a time; a torn last line is dropped.

    The key of a line is a digest of the code and one of the question, so a result of other code is never found.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / "rows.jsonl"
        self._rows: dict[str, Mapping[str, Any]] = {}
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._read()
        except OSError as error:
            raise BadStore(f"{self.path}: {error.strerror or error}; name another folder with --out") from error

    def get(self, digest: str) -> Mapping[str, Any] | None:
        """What this code answered to the question of that digest; None when it has not."""
        return self._rows.get(_key(digest))

    def put(self, digest: str, row: Mapping[str, Any]) -> None:
        """Keeps a result.

        Raises:
            BadStore: the disk refuses.
        """
        key = _key(digest)
        self._rows[key] = row
        line = json.dumps({"key": key, "row": row}, separators=(",", ":"))
        try:
            # One write of a whole line: two commands that share a folder never tear each other's lines.
            descriptor = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
            with os.fdopen(descriptor, "wb", buffering=0) as stream:
                stream.write((line + "\n").encode())
        except OSError as error:
            raise BadStore(f"{self.path}: {error.strerror or error}; the rows before are kept") from error

    def _read(self) -> None:
        if not self.path.exists():
            return
        whole = self.path.read_text(encoding="utf-8")
        lines = whole.split("\n")
        if lines[-1]:
            # Somebody was killed while writing: the line has no end, and the next one must not be glued to it.
            os.truncate(self.path, len("\n".join([*lines[:-1], ""]).encode()))
        for number, line in enumerate(lines[:-1], 1):
            try:
                entry = json.loads(line)
                self._rows[entry["key"]] = dict(entry["row"])
            except (ValueError, KeyError, TypeError) as error:
                raise BadStore(
                    f"{self.path}:{number}: no finished row ({error}); remove the line or the file"
                ) from error


def _key(digest: str) -> str:
    return f"{code_digest()}-{digest}"
