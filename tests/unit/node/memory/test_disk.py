"""A full disk names its folder and what is missing."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from node.errors import MachineFull
from node.memory.disk import disk_room


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT], ids=errno.errorcode.__getitem__)
def test_a_full_disk(tmp_path: Path, code: int) -> None:
    missing = tmp_path / "not" / "there"
    with (
        pytest.raises(MachineFull, match=rf"the disk of {missing} is full: {1 << 60} bytes needed, \d+ free, \d+ miss"),
        disk_room(missing, 1 << 60),
    ):
        raise OSError(code, "as the system says")


def test_a_file_that_may_not_grow(tmp_path: Path) -> None:
    with pytest.raises(MachineFull, match=rf"{tmp_path} may not grow.*ulimit -f"), disk_room(tmp_path, 1):
        raise OSError(errno.EFBIG, "File too large")


def test_other_errors_stay_what_they_are(tmp_path: Path) -> None:
    with pytest.raises(PermissionError), disk_room(tmp_path, 1):
        raise PermissionError(errno.EACCES, "no")
