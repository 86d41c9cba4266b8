"""The table: lookup, attributes, and what people read about it."""

from __future__ import annotations

import re

import pytest

from node.errors import BadAttribute, UnknownOperation
from node.hardware.operations import OPERATIONS, complete_attributes, operation, operations_markdown


def test_names_are_those_of_the_entries():
    assert all(name == entry.name for name, entry in OPERATIONS.items())
    assert operation("linear") is OPERATIONS["linear"]


def test_unknown_operation_names_the_nearest():
    with pytest.raises(UnknownOperation, match=r"no 'rms_nrom'; did you mean 'rms_norm'"):
        operation("rms_nrom")
    with pytest.raises(UnknownOperation, match="it has linear, matmul"):
        operation("zzz")


def test_only_writes_into_a_cache_keep_what_was_there():
    assert [name for name, entry in OPERATIONS.items() if entry.in_place] == [
        "channel_write",
        "kv_write",
        "paged_write",
    ]
    assert OPERATIONS["kv_write"].in_place == OPERATIONS["channel_write"].in_place == (0,)


def test_defaults_are_filled_in():
    assert complete_attributes(operation("rms_norm"), {"eps": 1e-6}) == {"eps": 1e-6, "offset": 0.0}
    given = {"scale": 1, "tokens": (3,)}
    complete = complete_attributes(operation("decode_attention"), given)
    assert complete == {"tokens": (3,), "starts": (), "scale": 1.0}
    assert type(complete["scale"]) is float


def test_complete_attributes_of_another_operation_are_checked_again():
    complete = complete_attributes(operation("top_k"), {"k": 3})
    with pytest.raises(BadAttribute, match="'row' is missing"):
        complete_attributes(operation("take_rows"), complete)


@pytest.mark.parametrize(
    ("name", "attributes", "message"),
    [
        ("rms_norm", {}, "attribute 'eps' is missing; it takes eps, offset=0.0, given were none"),
        ("rms_norm", {"eps": 1e-6, "ofset": 1.0}, "unknown attribute 'ofset'; did you mean 'offset'; it takes eps"),
        ("add", {"alpha": 1.0}, "unknown attribute 'alpha'; it takes no attributes"),
        ("top_k", {"k": 3.0}, "'k' is 3.0, expected an integer"),
        ("top_k", {"k": True}, "'k' is True, expected an integer"),
        ("top_k", {"k": None}, "'k' is None, expected an integer"),
        ("rms_norm", {"eps": True}, "'eps' is True, expected a finite number"),
        ("rms_norm", {"eps": float("nan")}, "'eps' is nan, expected a finite number"),
        ("activation", {"kind": 3}, "'kind' is 3, expected a text"),
        ("prefill_attention", {"scale": 1.0, "causal": 1}, "'causal' is 1, expected true or false"),
        ("decode_attention", {"tokens": [3], "scale": 1.0}, r"'tokens' is \[3\], expected a tuple of integers"),
        ("decode_attention", {"tokens": (3.5,), "scale": 1.0}, "expected a tuple of integers"),
    ],
)
def test_bad_attributes(name: str, attributes: dict, message: str):
    with pytest.raises(BadAttribute, match=f"^{name}: .*{message}"):
        complete_attributes(operation(name), attributes)


def test_markdown_has_a_row_for_every_operation():
    lines = operations_markdown().splitlines()
    assert len(lines) == len(OPERATIONS) + 2
    assert all(len(re.split(r"(?<!\\)\|", line)) == 5 for line in lines), "three columns each"
    row = next(line for line in lines if line.startswith("| `rms_norm`"))
    assert "`eps`, `offset=0.0`" in row and "x (..., n), w (n)" in row
