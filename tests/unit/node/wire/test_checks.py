"""Names, sizes and ranges are checked before anything is done with them."""

from __future__ import annotations

import pytest

from node.errors import BadName, DtypeMismatch, OutOfRange, ShapeMismatch
from node.wire.checks import NAME_LENGTH, checked_name, checked_range, checked_size_bytes


@pytest.mark.parametrize("name", ["x", "hbm/layer.0/k_cache", "A-1", "n" * NAME_LENGTH])
def test_names_that_are_allowed(name: str) -> None:
    assert checked_name(name) == name


@pytest.mark.parametrize(
    "name", ["", "..", "a/../b", "../a", "/a", "a/", "a//b", "a b", "a\n", "a\x00", "é", "n" * (NAME_LENGTH + 1)]
)
def test_names_that_are_not(name: str) -> None:
    with pytest.raises(BadName):
        checked_name(name)


def test_sizes() -> None:
    assert checked_size_bytes("bf16", (3, 5)) == 30
    assert checked_size_bytes("fp64", ()) == 8
    assert checked_size_bytes("int8", (0, 7)) == 0
    with pytest.raises(DtypeMismatch, match="fp31"):
        checked_size_bytes("fp31", (1,))
    for shape in ((-1,), (1,) * 9, (1 << 40, 1 << 40)):
        with pytest.raises(ShapeMismatch):
            checked_size_bytes("fp32", shape)


def test_ranges() -> None:
    checked_range("x", 4, 4, 8, 4)
    for offset, need, item in ((8, 1, 1), (-4, 4, 4), (0, 9, 1), (2, 4, 4)):
        with pytest.raises(OutOfRange, match="x"):
            checked_range("x", offset, need, 8, item)
