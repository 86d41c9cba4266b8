"""Only regular files are imported: a pipe or a device could be read for ever."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from controller.errors import BadTopology
from controller.topology.importing.sketch import text_of


@pytest.mark.timeout(20)
def test_a_pipe_and_a_device_are_refused_unopened(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for path in (pipe, Path("/dev/zero")):
        with pytest.raises(BadTopology, match="no regular file"):
            text_of(path)
