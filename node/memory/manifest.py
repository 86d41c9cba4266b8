"""What a flash tier has committed: one small file that is replaced whole: always one state or the next."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from node.errors import CorruptTier
from node.memory.disk import disk_room

_FORMAT = 1
_FILE = "manifest.json"


@dataclass(frozen=True, slots=True)
class Entry:
    """One committed buffer.

    Attributes:
        name, dtype, shape: of the buffer.
        serial: names its array on disk.
        chunk_bytes: size of its chunks [bytes].
        slots: which of the two slots of each chunk holds the committed bytes; -1 for a chunk that was never written.
        checksums: CRC-32 of each committed chunk.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    serial: int
    chunk_bytes: int
    slots: tuple[int, ...]
    checksums: tuple[int, ...]


def read_manifest(folder: Path) -> tuple[Entry, ...]:
    """The committed buffers of a folder, none when nothing was committed yet.

    Raises:
        CorruptTier: the file is not one that `write_manifest` made.
    """
    path = folder / _FILE
    if not path.exists():
        return ()
    try:
        content = json.loads(path.read_text())
        if content["format"] != _FORMAT:
            raise CorruptTier(
                f"{path} has format {content['format']}, this version reads {_FORMAT}; use an empty folder"
            )
        return tuple(
            Entry(
                entry["name"],
                entry["dtype"],
                tuple(entry["shape"]),
                entry["serial"],
                entry["chunk_bytes"],
                tuple(entry["slots"]),
                tuple(entry["checksums"]),
            )
            for entry in content["buffers"]
        )
    except (ValueError, KeyError, TypeError) as error:
        raise CorruptTier(f"{path} cannot be read ({error}); restore it or delete the folder") from error


def write_manifest(folder: Path, entries: Sequence[Entry]) -> None:
    """Replaces the manifest; when this returns it survives a crash of the process and of the machine."""
    fresh = folder / (_FILE + ".new")
    text = json.dumps({"format": _FORMAT, "buffers": [asdict(entry) for entry in entries]})
    with disk_room(folder, len(text)), fresh.open("w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(folder / _FILE)
    sync_folder(folder)


def sync_folder(folder: Path) -> None:
    """Makes the names in a folder durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
