"""Limits of a message, and checks of names, sizes and ranges before anything is done with them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from math import inf, nextafter, prod

from node.errors import BadAttribute, BadName, DtypeMismatch, OutOfRange, ShapeMismatch
from node.hardware.operation import ITEM_BYTES
from node.protocol import HORIZON_S

NAME_LENGTH = 200
MAX_RANK = 8
MAX_SIZE_BYTES = 1 << 62
MAX_COUNT = (1 << 64) - 1
"""Largest number in a uint64 field of a message."""


LONGEST_S = 1e9
"""The latest instant and the longest latency in device time that a request may name [s]."""
MAX_RATE = 1e18
"""The highest rate that a request may name [bytes/s]."""
SMALLEST = nextafter(0.0, inf)
"""What a number must be at least that has to be above 0."""

_NAME = re.compile(r"[A-Za-z0-9._/-]+\Z")


def checked_name(name: str, what: str = "buffer") -> str:
    """`name`, when it may name something.

    Raises:
        BadName: empty, too long, a forbidden character, or a path that could leave its folder.
    """
    if not name or len(name) > NAME_LENGTH:
        raise BadName(f"a {what} name has {len(name)} characters; use 1 to {NAME_LENGTH}")
    if not _NAME.match(name) or ".." in name or name.startswith("/") or name.endswith("/") or "//" in name:
        raise BadName(
            f"{what} name {name!r} is not allowed: use letters, digits and ._-/ without '..', and no '/' at an end"
        )
    return name


def checked_number(what: str, value: float, unit: str, most: float, least: float = 0.0) -> float:
    """`value`, when it is a number from `least` to `most`.

    Raises:
        BadAttribute: it is not, or no number at all.
    """
    if not least <= value <= most:
        low = "above 0" if least == SMALLEST else f"from {least:g}"
        raise BadAttribute(f"{what} is {value:g} {unit}".rstrip() + f"; use a number {low} to {most:g}")
    return value


def saturated(count: int) -> int:
    """`count`, or the most that a message can hold."""
    return min(count, MAX_COUNT)


def checked_epoch(epoch: float, now: float) -> float:
    """`epoch`, when it is an instant of the monotonic clock that a run can wait for [s].

    Raises:
        BadAttribute: it is not.
    """
    return checked_number("epoch", epoch, "s", now + HORIZON_S)


def checked_size_bytes(dtype: str, shape: Sequence[int]) -> int:
    """The size of a tensor [bytes], before any memory is asked for.

    Raises:
        DtypeMismatch: unknown dtype.
        ShapeMismatch: negative extent, too many axes, or a size that no address can hold.
    """
    if dtype not in ITEM_BYTES:
        raise DtypeMismatch(f"unknown dtype {dtype!r}; known: {', '.join(ITEM_BYTES)}")
    if len(shape) > MAX_RANK or any(extent < 0 for extent in shape):
        raise ShapeMismatch(f"shape {tuple(shape)} has more than {MAX_RANK} axes or a negative extent")
    size = prod(shape) * ITEM_BYTES[dtype]
    if size > MAX_SIZE_BYTES:
        raise ShapeMismatch(
            f"shape {tuple(shape)} of {dtype} is {size} bytes; at most {MAX_SIZE_BYTES} can be addressed"
        )
    return size


def checked_range(name: str, offset_bytes: int, need_bytes: int, size_bytes: int, item_bytes: int = 1) -> None:
    """Checks that a range lies in its buffer and on its items.

    Raises:
        OutOfRange: it does not.
    """
    if offset_bytes < 0 or need_bytes < 0 or offset_bytes + need_bytes > size_bytes:
        raise OutOfRange(
            f"bytes {offset_bytes} to {offset_bytes + need_bytes} of {name}, which has {size_bytes} bytes; "
            "use an offset and a shape within the buffer"
        )
    if offset_bytes % item_bytes:
        raise OutOfRange(f"offset {offset_bytes} bytes of {name} is not a multiple of its item size {item_bytes} bytes")
