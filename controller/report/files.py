"""Text files that a report writes: whole or not at all, and their folders checked before the work begins."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from controller.errors import UserError


def check_folders(paths: Mapping[str, Path | None]) -> None:
    """Refuses files whose folder is not there, before hours of work.

    Args:
        paths: by the option that named them.

    Raises:
        UserError: there is no such folder.
    """
    for option, path in paths.items():
        if path is not None and not path.absolute().parent.is_dir():
            raise UserError(f"{option} {path}: there is no folder {path.absolute().parent}; make it first")


def write_text(path: Path, text: str) -> None:
    """Writes `text` to `path`; an existing file is replaced when the new one is complete.

    Raises:
        UserError: the file cannot be written.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        partial.write_text(text, encoding="utf-8")
        os.replace(partial, path)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise UserError(f"{path} cannot be written: {error.strerror or error}; name a folder that has room") from error
