"""Where converted models are kept, and how one gets there whole or not at all."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Callable
from pathlib import Path

from controller.errors import PreflightFailed

_UNFINISHED = ".unfinished-"


def cache_root() -> Path:
    """``$WINDTUNNEL_CACHE``, else ``$XDG_CACHE_HOME/windtunnel``, else ``~/.cache/windtunnel``."""
    chosen = os.environ.get("WINDTUNNEL_CACHE")
    if chosen:
        return Path(chosen)
    home = os.environ.get("XDG_CACHE_HOME")
    return (Path(home) if home else Path.home() / ".cache") / "windtunnel"


def kept_folder(key: str, need_bytes: int, fill: Callable[[Path], None]) -> Path:
    """The folder `key` of the cache, filled by `fill` when it is not there yet.

    A folder appears under its name when it is complete. A lock lets one process fill at a time; what an interrupted
    one left is removed by the next.

    Args:
        key: name of the folder; says what is in it and which version of the conversion made it.
        need_bytes: room that filling needs [bytes].
        fill: writes the content into the folder that it is given.

    Raises:
        PreflightFailed: the disk lacks the room, or the cache cannot be written.
    """
    root = cache_root()
    folder = root / key
    if folder.is_dir():
        return folder
    try:
        root.mkdir(parents=True, exist_ok=True)
        with (root / ".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if folder.is_dir():
                return folder
            for leftover in sorted(root.glob(f"{_UNFINISHED}*")):
                shutil.rmtree(leftover)
            free_bytes = shutil.disk_usage(root).free
            if free_bytes < need_bytes:
                raise PreflightFailed(
                    f"converting a model needs {need_bytes} bytes in {root}, {free_bytes} are free; make room, "
                    f"or set WINDTUNNEL_CACHE to a folder on another disk"
                )
            unfinished = root / f"{_UNFINISHED}{key}"
            unfinished.mkdir()
            fill(unfinished)
            unfinished.rename(folder)
    except OSError as error:
        raise PreflightFailed(
            f"the cache {root} cannot be used: {error}; set WINDTUNNEL_CACHE to a folder that can be written"
        ) from error
    return folder
