"""Sizes as nccl-tests writes them: ``8``, ``64K``, ``1M``, ``8G``, all binary."""

from __future__ import annotations

import re

from controller.collectives.errors import BadCall
from node.hardware.operation import ITEM_BYTES

_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}
_SIZE = re.compile(r"(\d{1,18})([KMGT]?)", re.IGNORECASE)
MAX_SIZES = 1_000
"""Most rows of one table; beyond it a typing error is likelier than a question."""


def parse_size(text: str) -> int:
    """A size [bytes].

    Raises:
        BadCall: not a whole number with at most one of the letters K, M, G and T, or zero.
    """
    match = _SIZE.fullmatch(text.strip())
    if match is None:
        raise BadCall(
            f"{text!r} is not a size; write bytes with K, M or G for powers of 1024, for example 8, 64K or 1M"
        )
    size = int(match[1]) * _UNITS[match[2].upper()]
    if size < 1:
        raise BadCall(f"a size of {text!r}: nothing to send; the smallest is one element")
    return size


def sizes_between(first: int, last: int, dtype: str, factor: int = 2, step: int | None = None) -> tuple[int, ...]:
    """Every size of a table [bytes].

    Args:
        first, last: smallest and largest [bytes].
        dtype: element type, of which every size must be a multiple.
        factor: from one size to the next, unless `step` is given.
        step: added instead of multiplying [bytes].

    Raises:
        BadCall: an empty or endless range, or a size that is no whole number of elements.
    """
    if last < first:
        raise BadCall(f"sizes from {first} B to {last} B: the end is below the beginning; give -e at least {first}")
    if step is None and factor < 2:
        raise BadCall(f"a factor of {factor} from size to size never ends; give -f 2 or more")
    found: list[int] = []
    size = first
    while size <= last:
        if size % ITEM_BYTES[dtype]:
            raise BadCall(
                f"{size} B is no whole number of {dtype} elements of {ITEM_BYTES[dtype]} B; "
                f"give multiples of {ITEM_BYTES[dtype]}"
            )
        found.append(size)
        if len(found) > MAX_SIZES:
            raise BadCall(f"more than {MAX_SIZES} sizes from {first} B to {last} B; use a larger factor or step")
        size = size + step if step is not None else size * factor
    return tuple(found)
