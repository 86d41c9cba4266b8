"""Who may write to a flash folder: the node that took it over last.

A node holds a lock on its folder as long as it lives. One that stands still, or whose machine cannot be reached, holds
it for ever; a node that is started to take over goes on without the lock and counts the folder's epoch up. Whoever
writes checks before that the epoch is still its own, so a node that wakes after it was replaced writes nothing.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from node.errors import BufferExists, CorruptTier, Fenced
from node.memory.manifest import sync_folder

EPOCH = "epoch"


class Fence:
    """The right of one node to write to a folder.

    Attributes:
        epoch: of this node.
    """

    def __init__(self, folder: Path, *, take_over: bool = False) -> None:
        """Takes the folder.

        Args:
            folder: that is there.
            take_over: whether to take it from a node that still holds it.

        Raises:
            BufferExists: another process uses the folder, and it is not to be taken from it.
            CorruptTier: its epoch is no number.
        """
        self._folder = folder
        self._descriptor = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if not take_over:
                os.close(self._descriptor)
                raise BufferExists(
                    f"{folder} is in use by another node; stop it, use another flash folder, or take it over"
                ) from error
        self.epoch = self._now() + 1
        fresh = folder / f"{EPOCH}.{os.getpid()}.new"
        with fresh.open("w") as file:
            file.write(str(self.epoch))
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(folder / EPOCH)
        sync_folder(folder)

    def check(self) -> None:
        """Refuses to go on once another node has the folder.

        Raises:
            Fenced: it has.
        """
        now = self._now()
        if now != self.epoch:
            raise Fenced(
                f"{self._folder}: epoch {self.epoch} of this node is over, it is {now}: nothing was written; end this "
                f"node, another one goes on"
            )

    def close(self) -> None:
        """Gives the lock back."""
        os.close(self._descriptor)

    def _now(self) -> int:
        try:
            return int((self._folder / EPOCH).read_text())
        except FileNotFoundError:
            return 0
        except ValueError as error:
            raise CorruptTier(f"{self._folder / EPOCH} holds no number: {error}; restore it or delete it") from error
