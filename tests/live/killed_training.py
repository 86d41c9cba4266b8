"""A training run whose controller kills itself; run as ``FOLDER WHEN``."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

from controller.experiment.surviving import train_surviving
from controller.offload import checkpoint_folder
from tests.live.test_survival import scenario


def main(folder: Path, when: str) -> None:
    """Dies behind the second checkpoint, or while it is written."""
    saved, sync = checkpoint_folder.CheckpointFolder.save, os.fsync
    count = 0

    def save(self, states) -> None:
        nonlocal count
        count += 1
        if count == 2 and when != "between steps":
            os.fsync = lambda descriptor: os.kill(os.getpid(), signal.SIGKILL)
        saved(self, states)
        os.fsync = sync
        if count == 2:
            os.kill(os.getpid(), signal.SIGKILL)

    checkpoint_folder.CheckpointFolder.save = save
    train_surviving(scenario(), folder)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
