"""Says which folder is full, and by how much, when the disk of this machine takes no more."""

from __future__ import annotations

import errno
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from node.errors import MachineFull

_FULL = (errno.ENOSPC, errno.EDQUOT)


@contextmanager
def disk_room(folder: Path, need_bytes: int) -> Iterator[None]:
    """Writes about `need_bytes` below `folder` in the body.

    Raises:
        MachineFull: they do not fit; names the folder and the missing bytes, or the limit on the size of files.
    """
    try:
        yield
    except OSError as error:
        if error.errno == errno.EFBIG:
            raise MachineFull(f"a file in {folder} may not grow as it has to; raise `ulimit -f`") from error
        if error.errno not in _FULL:
            raise
        there = next(path for path in (folder, *folder.parents) if path.exists())
        free = shutil.disk_usage(there).free
        raise MachineFull(
            f"the disk of {folder} is full: {need_bytes} bytes needed, {free} free, {max(need_bytes - free, 1)} "
            "missing (or a quota ends there); free some or use another flash folder"
        ) from error
