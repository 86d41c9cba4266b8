"""Tensors of a checkpoint folder: one ``model.safetensors`` or many shards, mapped and read one by one as float32.

Source of the format: https://github.com/huggingface/safetensors#format, a little-endian uint64 with the length of a
JSON header, the header, the bytes.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from controller.errors import PreflightFailed

Array = npt.NDArray[Any]

MAX_HEADER_BYTES = 100 << 20
"""Longest header that is read, as the reference reader has it [bytes]."""
ITEM_TYPES = {"F32": np.float32, "F16": np.float16, "BF16": np.uint16, "U8": np.uint8}
"""Element types that are read: what is stored of each."""


class SafetensorsFolder:
    """The tensors of every ``*.safetensors`` in a folder, by name."""

    def __init__(self, folder: Path) -> None:
        """Reads the headers.

        Raises:
            PreflightFailed: there is no such file, or one that is damaged.
        """
        self.folder = folder
        self._entries: dict[str, tuple[Path, int, dict[str, Any]]] = {}
        files = sorted(folder.glob("*.safetensors"))
        if not files:
            raise PreflightFailed(f"{folder} has no *.safetensors; give config.json itself for weights from a seed")
        for path in files:
            start, header = _header(path)
            for name, entry in header.items():
                if name != "__metadata__":
                    self._entries[name] = path, start, entry

    def __contains__(self, name: str) -> bool:
        return name in self._entries

    def read(self, name: str) -> Array:
        """A tensor, float32; uint8 as it is.

        Raises:
            PreflightFailed: no such tensor, one that lies outside of its file, or of a type that is not read.
        """
        if name not in self._entries:
            raise PreflightFailed(
                f"{self.folder} has no tensor {name!r}; give config.json itself for weights from a seed"
            )
        path, start, entry = self._entries[name]
        try:
            stored, extents, (first, last) = (
                entry["dtype"],
                [int(each) for each in entry["shape"]],
                entry["data_offsets"],
            )
        except (KeyError, TypeError, ValueError) as error:
            raise PreflightFailed(f"{path} is damaged at {name!r}: its header says {entry!r}") from error
        if stored not in ITEM_TYPES:
            raise PreflightFailed(
                f"{path}: {name!r} is stored as {stored}; {', '.join(ITEM_TYPES)} are read: convert the checkpoint to "
                f"bf16, or give config.json itself for weights from a seed"
            )
        kind = np.dtype(ITEM_TYPES[stored])
        if min(extents, default=0) < 0 or not 0 <= first <= last or math.prod(extents) * kind.itemsize != last - first:
            raise PreflightFailed(
                f"{path} is damaged at {name!r}: {extents} of {stored} are not bytes {first} to {last}"
            )
        if start + last > path.stat().st_size:
            raise PreflightFailed(f"{path} is damaged at {name!r}: the file ends before it")
        raw = np.fromfile(path, kind, math.prod(extents), offset=start + first).reshape(extents)
        if stored == "BF16":
            return (raw.astype(np.uint32) << 16).view(np.float32)
        return raw if stored == "U8" else raw.astype(np.float32)


def _header(path: Path) -> tuple[int, dict[str, Any]]:
    """Where the bytes begin, and the entry of each tensor.

    Raises:
        PreflightFailed: no header.
    """
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            text = file.read(length) if length <= MAX_HEADER_BYTES else b""
        header = json.loads(text)
    except OSError as error:
        raise PreflightFailed(f"{path}: cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise PreflightFailed(f"{path} is no safetensors file: its header is no JSON") from error
    if not isinstance(header, dict):
        raise PreflightFailed(f"{path} is no safetensors file: its header is no object")
    return 8 + length, header
