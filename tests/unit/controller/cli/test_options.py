"""``--option name=value``."""

import click
import pytest

from controller.cli.options import named_values


def test_values_may_hold_equals_signs_and_keep_their_order():
    assert list(named_values(("b=1", "a=x=y")).items()) == [("b", "1"), ("a", "x=y")]


@pytest.mark.parametrize("texts", [("nothing",), ("=1",), ("a=1", "a=2")])
def test_what_cannot_be_meant_is_refused(texts):
    with pytest.raises(click.BadParameter):
        named_values(texts)
