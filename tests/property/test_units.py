"""parse and format_quantity are inverse functions, bit for bit."""

from hypothesis import given
from hypothesis import strategies as st

from node.hardware.units import UNITS, dimensions, format_quantity, parse

DIMENSION = st.sampled_from(dimensions())


@given(DIMENSION, st.floats(min_value=0, allow_infinity=False, allow_nan=False))
def test_parse_undoes_format(dimension, value):
    assert parse(format_quantity(value, dimension), dimension) == value


@given(st.integers(min_value=0, max_value=2**80))
def test_whole_bytes_of_any_size_survive(value):
    again = parse(format_quantity(value, "bytes"), "bytes")
    assert again == value
    assert isinstance(again, int)


@given(DIMENSION, st.integers(0, 10**6), st.integers(0, 999), st.data())
def test_format_undoes_parse_in_value(dimension, whole, thousandths, data):
    unit = data.draw(st.sampled_from(sorted(UNITS[dimension])))
    value = parse(f"{whole}.{thousandths:03d} {unit}", dimension)
    assert parse(format_quantity(value, dimension), dimension) == value
