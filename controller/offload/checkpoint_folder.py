"""Checkpoints of a training run in a folder: whole or not there, and written by one controller at a time.

A checkpoint is one file, written beside its name, synced and renamed: a write that is cut off leaves nothing under that
name. The last two stay, since the newest may be lost with the disk's cache.

Fencing: who takes the folder over counts its epoch up. Every write checks under a lock that the epoch is still its own,
so a controller that wakes after it was replaced writes nothing.
"""

from __future__ import annotations

import fcntl
import os
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from controller.errors import RunError

KEPT = 2
_LOSSES = "losses"

Arrays = Mapping[str, npt.NDArray[np.float32]]


class FolderTakenOver(RunError):
    """A controller that was replaced and tried to write; nothing was written."""


@dataclass(frozen=True, slots=True)
class SavedStates:
    """Everything that training needs to go on.

    Attributes:
        step: that comes next, from 0.
        losses: of the steps before it.
        arrays: states by name.
    """

    step: int
    losses: tuple[float, ...]
    arrays: Arrays


class CheckpointFolder:
    """The checkpoints of one run.

    Attributes:
        epoch: of the controller that opened it here.
    """

    def __init__(self, folder: Path) -> None:
        """Takes the folder over: from now on no other controller writes to it."""
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        with self._locked():
            self.epoch = self._epoch() + 1
            self._replace("epoch", str(self.epoch).encode())
            for torn in folder.glob("*.part"):
                torn.unlink()

    def save(self, states: SavedStates) -> None:
        """Writes a checkpoint; when this returns it is whole and on disk.

        Raises:
            FolderTakenOver: another controller has taken the folder over since.
        """
        part = self._folder / f"step{states.step:08}.{self.epoch}.part"
        with part.open("wb") as file:
            content: dict[str, Any] = {f"s/{name}": values for name, values in states.arrays.items()}
            np.savez(file, allow_pickle=False, **{_LOSSES: np.array(states.losses, np.float64), **content})
            file.flush()
            os.fsync(file.fileno())
        with self._locked():
            now = self._epoch()
            if now != self.epoch:
                part.unlink(missing_ok=True)
                raise FolderTakenOver(
                    f"{self._folder}: epoch {self.epoch} of this controller is over, it is {now}: nothing was written; "
                    f"end this controller; another one continues the run"
                )
            part.rename(self._folder / f"step{states.step:08}.npz")
            self._sync()
            for old in sorted(self._folder.glob("step*.npz"))[:-KEPT]:
                old.unlink()

    def newest(self) -> SavedStates | None:
        """The newest whole checkpoint; None before the first."""
        for path in sorted(self._folder.glob("step*.npz"), reverse=True):
            try:
                with np.load(path, allow_pickle=False) as found:
                    losses = tuple(float(loss) for loss in found[_LOSSES])
                    arrays = {name[2:]: found[name] for name in found.files if name.startswith("s/")}
            except (OSError, ValueError, KeyError, zipfile.BadZipFile):
                continue  # it was damaged after it was whole
            return SavedStates(int(path.stem.removeprefix("step")), losses, arrays)
        return None

    def steps(self) -> Sequence[int]:
        """Steps of the checkpoints that there are, ascending."""
        return [int(path.stem.removeprefix("step")) for path in sorted(self._folder.glob("step*.npz"))]

    def _epoch(self) -> int:
        try:
            return int((self._folder / "epoch").read_text())
        except (OSError, ValueError):
            return 0

    def _replace(self, name: str, content: bytes) -> None:
        part = self._folder / f"{name}.new"
        part.write_bytes(content)
        part.rename(self._folder / name)
        self._sync()

    def _sync(self) -> None:
        descriptor = os.open(self._folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        descriptor = os.open(self._folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)
