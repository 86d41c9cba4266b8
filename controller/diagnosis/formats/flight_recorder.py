"""Pickles of PyTorch's Flight Recorder: the one place where windtunnel touches a pickle.

A dump is one file a rank, its name a prefix and the rank. A pickle can call anything that its reader can import, so
these are read by an unpickler that constructs nothing: containers, numbers and text have opcodes of their own, and
whatever names a class is refused before it is looked up.

Source: torch/distributed/flight_recorder/components/{loader,types,builder}.py of torch 2.13; dumps of 2.9 read alike.
"""

from __future__ import annotations

import io
import pickle
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from controller.diagnosis.dumps import RankDump
from controller.diagnosis.errors import BadDump
from controller.diagnosis.formats.flight_recorder_content import dump_of

MOST_BYTES = 1 << 30
"""Size of a file that is still read [bytes]; the recorder of 20,000 operations with their stacks writes some 50 MB."""
PROTOCOL = 2
"""Protocol that the recorder itself writes."""
_NAME = re.compile(r"(?P<prefix>.*?)(?P<rank>\d{1,9})$")
_DAMAGE = (
    pickle.UnpicklingError, EOFError, ValueError, IndexError, KeyError, TypeError, AttributeError, OverflowError,
    MemoryError, RecursionError, ImportError,
)  # fmt: skip


class ContainersOnly(pickle.Unpickler):
    """Reads containers, numbers and text."""

    def find_class(self, module_name: str, global_name: str) -> Any:
        """Refuses every class and function."""
        raise pickle.UnpicklingError(f"it wants to construct {module_name}.{global_name}")

    def persistent_load(self, pid: Any) -> Any:
        """Refuses references to what lies elsewhere."""
        raise pickle.UnpicklingError("it refers to an object outside of the file")


def read_dumps(folder: Path, prefix: str | None = None) -> tuple[RankDump, ...]:
    """The dumps of a folder, by rank, whatever the order of its files.

    Args:
        folder: where they lie.
        prefix: what the names of dumps begin with; None when the folder holds one set.

    Raises:
        BadDump: no folder, no dump, two of one rank, more than one set, or a file that is no dump.
    """
    if not folder.is_dir():
        raise BadDump(f"{folder} is not a folder; name the one that holds a dump of every rank")
    found: dict[str, dict[int, Path]] = {}
    for path in sorted(folder.iterdir()):
        match = _NAME.match(path.name)
        if match is None or not path.is_file() or (prefix is not None and match["prefix"] != prefix):
            continue
        ranks, rank = found.setdefault(match["prefix"], {}), int(match["rank"])
        if rank in ranks:
            raise BadDump(f"{path}: a second dump of rank {rank}, after {ranks[rank].name}; remove one of them")
        ranks[rank] = path
    if not found:
        named = "PREFIX and the rank" if prefix is None else f"{prefix!r} and the rank"
        raise BadDump(f"{folder}: no dumps; their names consist of {named}, for example nccl_trace_rank_0")
    if len(found) > 1:
        raise BadDump(f"{folder}: {len(found)} sets of dumps, {', '.join(map(repr, found))}; choose one with --prefix")
    return tuple(read_dump(path, rank) for rank, path in sorted(next(iter(found.values())).items()))


def read_dump(path: Path, rank: int) -> RankDump:
    """The dump of one rank.

    Raises:
        BadDump: a file that cannot be read, is no pickle, names a class, or lacks what a dump has.
    """
    try:
        if path.stat().st_size > MOST_BYTES:
            raise BadDump(f"{path} has {path.stat().st_size:,} B; a dump has at most {MOST_BYTES:,}; remove the file")
        content = path.read_bytes()
    except OSError as error:
        raise BadDump(f"{path}: {error.strerror or error}; make the file readable, or remove it") from error
    try:
        value = ContainersOnly(io.BytesIO(content)).load()
    except _DAMAGE as error:
        raise BadDump(
            f"{path}: not a Flight Recorder dump: {error or type(error).__name__}; a dump holds containers, numbers "
            f"and text alone: dump the rank again, or remove the file"
        ) from error
    return dump_of(value, rank, str(path))


def write_dumps(folder: Path, contents: Mapping[int, Mapping[str, object]], prefix: str = "dump_") -> Sequence[Path]:
    """Writes what each rank recorded, as `controller.diagnosis.formats.flight_recorder_content` builds it."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for rank, content in sorted(contents.items()):
        path = folder / f"{prefix}{rank}"
        path.write_bytes(pickle.dumps(dict(content), protocol=PROTOCOL))
        paths.append(path)
    return paths
