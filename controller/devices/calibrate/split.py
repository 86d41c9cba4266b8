"""Which rows are fitted and which are left out: by a hash of the shape, the same on every machine."""

from __future__ import annotations

from collections.abc import Mapping
from zlib import crc32

from controller.devices.predict.question import Value

_OFTEN_ABSENT = ("copies", "window_size")
"""Sizes that data sets may leave out; as long as they are 0 they do not count, so that a new column splits alike."""


def is_fitted(sizes: Mapping[str, Value]) -> bool:
    """Whether a row with these sizes, in the order of its question, is fitted; about half of them are."""
    values = [str(value) for name, value in sizes.items() if value or name not in _OFTEN_ABSENT]
    return crc32(",".join(values).encode()) % 2 == 0
