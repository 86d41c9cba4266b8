"""Text files that a report writes: whole or not at all, and their folders checked before the work begins."""

from __future__ import annotations

import errno
import os
import shutil
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
        raise UserError(f"{path} cannot be written: {lack(path, error, len(text.encode()))}") from error


_FULL = (errno.ENOSPC, errno.EDQUOT)


def lack(path: Path, error: OSError, need_bytes: int = 0) -> str:
    """What kept a file of `need_bytes` from being written; of a full disk its folder and the missing bytes [bytes]."""
    folder = path.absolute().parent
    if error.errno not in _FULL:
        return f"{error.strerror or error}; name a folder that has room"
    try:
        free = shutil.disk_usage(folder).free
    except OSError:
        return f"{folder} is full; free some or name another folder"
    missing = f", {need_bytes} bytes needed, {max(need_bytes - free, 1)} missing" if need_bytes else ""
    return f"{folder} is full: {free} bytes free{missing}; free some or name another folder"
