"""Open sizes: one symbol, scaled and shifted, an integer once it is bound."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.errors import UnboundParameter
from controller.plan.size import Affine, bind_size, symbol

SMALL = st.integers(-1000, 1000)


@given(value=SMALL, factor=SMALL, term=SMALL)
def test_arithmetic_is_that_of_the_bound_number(value: int, factor: int, term: int) -> None:
    n = symbol("n")
    bound = {"n": value}
    assert bind_size(n * factor + term, bound) == value * factor + term
    assert bind_size(term + factor * n, bound) == term + factor * value
    assert bind_size((n - term) * factor, bound) == (value - term) * factor


def test_a_number_is_itself() -> None:
    assert bind_size(7, {}) == 7


def test_a_missing_symbol_is_named_with_what_is_bound() -> None:
    with pytest.raises(UnboundParameter, match=r"'context'.*position"):
        bind_size(symbol("context"), {"position": 3})
    with pytest.raises(UnboundParameter, match="nothing"):
        bind_size(Affine("context"), {})
