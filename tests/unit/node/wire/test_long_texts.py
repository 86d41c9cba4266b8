"""What is too long or too large for a message is cut or saturates, so that the error itself arrives."""

from __future__ import annotations

import pytest

from node.errors import BadName, UnknownBuffer
from node.wire.checks import MAX_COUNT, saturated
from node.wire.status import error_of, failure_of, shortened


@pytest.mark.parametrize("letter", ["x", "ä", "\U0001f600"])
def test_a_name_of_a_megabyte_keeps_both_ends(letter: str) -> None:
    failure = failure_of(UnknownBuffer(f"csd0 has no buffer {letter * (1 << 20)!r}; allocate it first"))
    assert len(failure.SerializeToString()) < 3000
    error = error_of(failure)
    assert isinstance(error, UnknownBuffer)
    assert str(error).startswith("csd0 has no buffer") and str(error).endswith("allocate it first")


def test_what_fits_stays_as_it_is() -> None:
    assert shortened("größe") == "größe" and failure_of(BadName("größe")).text == "größe"


def test_counts_saturate() -> None:
    assert saturated(7) == 7 and saturated(1 << 70) == MAX_COUNT
