"""Calls that cannot be are refused in words, with what to write instead."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from controller.collectives.attention.measure import connection_bytes_per_s, prepare
from controller.collectives.attention.table import SCHEMES, scheme
from controller.collectives.attention.verify import exact, seeded_sequence, wrong_count
from controller.collectives.errors import BadCall, UnknownAlgorithm


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"tokens": 0}, "attention over 0 tokens; at least 1"),
        ({"heads": 0}, "attention over 0 heads"),
        ({"heads": -4}, "attention over -4 heads"),
        ({"kv_heads": 0}, "attention over 0 KV heads"),
        ({"kv_heads": 3}, "4 heads cannot share 3 KV heads evenly; use a number of KV heads that divides 4"),
        ({"kv_heads": 8}, "4 heads cannot share 8 KV heads"),
        ({"head_dim": 0}, "attention over 0 columns of a head"),
        ({"batch": 0}, "attention over 0 sequences"),
        ({"dtype": "int8"}, "attention does not run in 'int8'; it does in fp32, bf16, fp16"),
        ({"connection_bytes_per_s": -1.0}, "a connection of -1.0 bytes/s"),
        ({"connection_bytes_per_s": float("nan")}, "a connection of nan bytes/s"),
        ({"connection_bytes_per_s": float("inf")}, "a connection of inf bytes/s"),
    ],
)
def test_a_call_that_cannot_be(attention_call, changes, message):
    with pytest.raises(BadCall, match=message):
        attention_call(2, **({"tokens": 8} | changes))


@pytest.mark.parametrize(
    ("name", "tokens", "message"),
    [
        ("ring", 10, "ring_attention over 4 ranks cuts the sequence into 4 equal parts, and 10 .* use 8 or 12 tokens"),
        ("striped", 13, "striped_attention .* 4 equal parts, and 13 tokens .* use 12 or 16"),
        ("zigzag", 12, "zigzag_attention .* 8 equal parts, and 12 tokens .* use 8 or 16"),
        ("token_ring", 3, "token_ring .* 8 equal parts, and 3 tokens .* use 8 tokens"),
    ],
)
def test_uneven_lengths_are_refused_with_the_nearest_even_ones(attention_call, name, tokens, message):
    with pytest.raises(BadCall, match=message):
        prepare(attention_call(4, tokens), name)


def test_unknown_schemes_name_the_nearest():
    with pytest.raises(UnknownAlgorithm, match="no scheme of attention 'zigzig'; did you mean 'zigzag'"):
        scheme("zigzig")
    assert set(SCHEMES) == {"ring", "striped", "zigzag", "token_ring"}


def test_the_rate_of_a_connection_is_a_declared_one(box):
    assert connection_bytes_per_s(box(2)) == 0.0
    assert connection_bytes_per_s(replace(box(2), options={"connection.rate": "12.9 GB/s"})) == 12.9e9
    with pytest.raises(BadCall, match=r"option connection\.rate"):
        connection_bytes_per_s(replace(box(2), options={"connection.rate": "fast"}))


@pytest.mark.parametrize("dtype", ["fp32", "bf16", "fp16"])
def test_wrong_elements_are_counted(attention_call, dtype):
    """The exact result passes, and what a missing key, a wrong merge or a NaN leaves does not."""
    call = attention_call(2, 64, dtype=dtype, head_dim=16)
    layout = scheme("zigzag")[1]
    expected = exact(call, seeded_sequence(call))
    right = expected[layout.positions(call, 1)]
    assert wrong_count(call, layout, 1, right.astype(np.float32), expected) == 0
    broken = right.astype(np.float32)
    broken[3, 0, 2, 5] = np.nan
    assert wrong_count(call, layout, 1, broken, expected) == 1
    assert wrong_count(call, layout, 1, right[:-1], expected) == right.size
    halved = wrong_count(call, layout, 1, right * 0.9, expected)
    assert halved > right.size * 0.6
    unmasked = exact(replace(call, causal=False), seeded_sequence(call))[layout.positions(call, 1)]
    assert wrong_count(call, layout, 1, unmasked, expected) > right.size * 0.3
