"""Every option of every strategy, given what it cannot be: a message with option, value and what to write."""

import pytest

from controller.errors import BadWorkload
from controller.strategies.table import STRATEGIES

GARBAGE = (
    "", " ", "-1", "nan", "inf", "-inf", "1e400", "5 parsecs", "-5 ms", "-5 GB", "nan ms", "1e99 s", "1e99 GB", "1,",
    "1:", ":1", "0:1", "1:0", "1,2,3", "None", "٣", "1_0", "0x10", "True", "x" * 400,
)  # fmt: skip
FREE = ("requests",)
"""A name of a stream or a file: looked up by the run, not by its form."""
OPTIONS = [
    (strategy.name, name) for strategy in STRATEGIES.values() for name in strategy.options or () if name not in FREE
]


@pytest.mark.parametrize(("strategy", "name"), OPTIONS)
def test_garbage_is_told_what_to_write(strategy: str, name: str) -> None:
    for text in GARBAGE:
        with pytest.raises(BadWorkload) as refused:
            STRATEGIES[strategy].read_options({name: text})
        message = str(refused.value)
        shown = repr(text) if len(text) < 50 else f"'{text[:50]}"
        assert message.startswith(f"option {name} is {shown}")
        assert "; write " in message and len(message) < 260


def test_units_are_of_the_option() -> None:
    for strategy, name, text, what in (
        ("lamina", "host_step", "5", "has no unit"),
        ("lamina", "host_step", "5 GB", "is in bytes, but s is meant here"),
        ("cxl_finetune", "dram_budget", "5 ms", "is in s, but bytes is meant here"),
        ("fuyou", "swap_activations", "34", "has no unit"),
    ):
        with pytest.raises(BadWorkload, match=f"option {name} is '{text}'; write .*{what}"):
            STRATEGIES[strategy].read_options({name: text})
