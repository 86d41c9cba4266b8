"""Quantities at the door: what is read, what is refused and what the refusal says."""

import math

import pytest

from node.errors import BadQuantity
from node.hardware.units import dimensions, format_quantity, parse


@pytest.mark.parametrize(
    ("text", "dimension", "value"),
    [
        ("400 Gb/s", "bytes/s", 50e9),
        ("80 GiB", "bytes", 85899345920),
        ("48 GB", "bytes", 48 * 10**9),
        ("12 b", "bytes", 1.5),
        ("2 us", "s", 2e-6),
        ("2 µs", "s", 2e-6),
        ("500ns", "s", 5e-7),
        ("3 min", "s", 180.0),
        ("154.8 TFLOP/s", "FLOP/s", 154.8e12),
        ("650 GFLOP/s", "FLOP/s", 650e9),
        ("1.4 GB/s", "bytes/s", 1.4e9),
        ("1 MiB/s", "bytes/s", 1048576.0),
        ("1.41 GHz", "Hz", 1.41e9),
        ("300 W", "W", 300.0),
        ("0.9", "ratio", 0.9),
        ("86 %", "ratio", 0.86),
        ("84", "count", 84.0),
        ("1e3 MB", "bytes", 10**9),
    ],
)
def test_parses_to_base_units(text, dimension, value):
    assert parse(text, dimension) == value


def test_whole_bytes_are_exact_integers():
    value = parse("9007199254740993 B", "bytes")  # 2**53 + 1 is no float64
    assert isinstance(value, int)
    assert value == 2**53 + 1


@pytest.mark.parametrize(
    ("text", "dimension", "said"),
    [
        ("400", "bytes/s", "'400 GB/s'"),
        ("7", "s", "'7 us'"),
        ("80 GiB", "bytes/s", "is in bytes, but bytes/s is meant"),
        ("80 gib", "bytes", "did you mean 'GiB'"),
        ("5 TFLOPS", "FLOP/s", "did you mean 'TFLOP/s'"),
        ("fast", "s", "is not a valid quantity"),
        ("", "s", "is not a valid quantity"),
        ("-2 us", "s", "negative"),
        ("nan s", "s", "is not a valid quantity"),
        ("1e400 s", "s", "too large"),
        ("3 s", "parsecs", "unknown dimension"),
    ],
)
def test_refuses_and_says_what_to_write(text, dimension, said):
    with pytest.raises(BadQuantity, match=None) as refusal:
        parse(text, dimension)
    assert said in str(refusal.value)


def test_a_number_instead_of_text_is_refused():
    with pytest.raises(BadQuantity, match="has no unit"):
        parse(400, "bytes/s")


@pytest.mark.parametrize(
    ("value", "dimension", "text"),
    [
        (85899345920, "bytes", "80 GiB"),
        (4096, "bytes", "4 KiB"),
        (1_000_001, "bytes", "1.000001 MB"),
        (0, "bytes", "0 B"),
        (11.2e9, "bytes/s", "11.2 GB/s"),
        (2e-6, "s", "2 us"),
        (90.0, "s", "90 s"),
        (154.8e12, "FLOP/s", "154.8 TFLOP/s"),
        (0.86, "ratio", "0.86"),
        (84, "count", "84"),
    ],
)
def test_formats_the_way_people_write(value, dimension, text):
    assert format_quantity(value, dimension) == text


@pytest.mark.parametrize("value", [math.inf, math.nan, -1.0])
def test_formats_no_impossible_value(value):
    with pytest.raises(BadQuantity):
        format_quantity(value, "s")


def test_every_dimension_has_an_example_that_parses():
    for dimension in dimensions():
        assert parse(format_quantity(3.0, dimension), dimension) == 3.0
