"""What a flash tier has committed, and what it is ready to commit: two small files, each replaced whole.

A state is prepared first, beside the committed one, and becomes the committed one by a rename. Between the two steps a
controller makes sure that every drive which takes part is as far, so that a step over several drives is there on all of
them or on none. Each file names the transaction that made it; the prepared one also who takes part.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

from node.errors import CorruptTier
from node.memory.disk import disk_room

_FORMAT = 2
COMMITTED, PREPARED = "manifest.json", "prepared.json"


@dataclass(frozen=True, slots=True)
class ManifestEntry:
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


@dataclass(frozen=True, slots=True)
class Manifest:
    """One state of a folder.

    Attributes:
        transaction: that made it; "" of a folder in which nothing was committed yet.
        participants: devices that commit together.
        buffers: all of them.
    """

    transaction: str = ""
    participants: tuple[str, ...] = ()
    buffers: tuple[ManifestEntry, ...] = ()


def read_manifest(folder: Path, name: str = COMMITTED) -> Manifest | None:
    """The committed or the prepared state of a folder; None when there is none.

    Raises:
        CorruptTier: the file is not one that `prepare_manifest` made.
    """
    path = folder / name
    if not path.exists():
        return None
    try:
        content = json.loads(path.read_text())
        if content["format"] != _FORMAT:
            raise CorruptTier(
                f"{path} has format {content['format']}, this version reads {_FORMAT}; use an empty folder"
            )
        buffers = tuple(
            ManifestEntry(
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
        return Manifest(content["transaction"], tuple(content["participants"]), buffers)
    except (ValueError, KeyError, TypeError) as error:
        raise CorruptTier(f"{path} cannot be read ({error}); restore it or delete the folder") from error


def prepare_manifest(folder: Path, manifest: Manifest) -> None:
    """Writes the prepared state; when this returns it survives a crash of the process and of the machine."""
    fresh = folder / (PREPARED + ".new")
    text = json.dumps({"format": _FORMAT, **asdict(manifest)})
    with disk_room(folder, len(text)), fresh.open("w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(folder / PREPARED)
    sync_folder(folder)


def commit_manifest(folder: Path) -> None:
    """Makes the prepared state the committed one, durably."""
    (folder / PREPARED).replace(folder / COMMITTED)
    sync_folder(folder)


def drop_prepared(folder: Path) -> None:
    """Forgets the prepared state, durably."""
    (folder / PREPARED).unlink(missing_ok=True)
    sync_folder(folder)


def sync_folder(folder: Path) -> None:
    """Makes the names in a folder durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
