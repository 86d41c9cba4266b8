"""Typed options: what a text means, what is refused and how, and what help says."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import pytest

from controller.errors import BadWorkload
from controller.program.options import Choice, Count, Duration, Options, Parsed, Share, Size, Switch, option


def _pair(text: str) -> tuple[int, int]:
    left, right = text.split(",")
    return int(left), int(right)


@dataclass(frozen=True)
class Every(Options):
    """One option of each kind."""

    parts: Count = option(2, "parts of the batch")
    recent: Count = option(0, "tokens kept", least=0)
    share: Share = option(0.9, "of the memory")
    pages: Share | None = option(None, "pages read", most=1.5)
    pause: Duration = option("5 ms", "host time")
    budget: Size | None = option(None, "of memory", absent="all of it")
    order: Choice = option("serial", "how steps follow", choices=("serial", "naive"))
    spill: Switch = option(True, "whether the rest goes to the drives")
    only: Choice | None = option(None, "what to do instead", choices=("network",))
    pair: Annotated[tuple[int, int], Parsed(_pair, "two counts, for example 2,4")] = option("2,4", "devices")


def test_defaults_are_values() -> None:
    found = Every.read({})
    assert (found.parts, found.recent, found.share, found.pages) == (2, 0, 0.9, None)
    assert (found.pause, found.budget, found.order, found.spill, found.pair) == (5e-3, None, "serial", True, (2, 4))
    assert dict(found) == {} and found == Every()


def test_texts_are_values_in_base_units() -> None:
    texts = {"parts": "3", "share": "0.5", "pages": "1.5", "pause": "31.25 us", "budget": "2 GiB", "spill": "off"}
    found = Every.read({**texts, "pair": "1,8", "order": "naive"})
    assert (found.parts, found.share, found.pages, found.pause) == (3, 0.5, 1.5, 31.25e-6)
    assert (found.budget, found.spill, found.pair, found.order) == (2 * 2**30, False, (1, 8), "naive")
    assert dict(found) == {**texts, "pair": "1,8", "order": "naive"}
    assert Every.of(found) is found and Every.of({"parts": "3"}).parts == 3


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("parts", "0", "option parts is '0'; write a whole number of at least 1 and at most 1,000,000,000"),
        ("parts", "2.5", "option parts is '2.5'; write a whole number"),
        ("parts", "²", "option parts is '²'; write a whole number"),
        ("parts", "99999999999", "option parts is '99999999999'; write a whole number"),
        ("recent", "-1", "option recent is '-1'; write a whole number of at least 0"),
        ("share", "2", "option share is '2'; write a share of more than 0 and at most 1,"),
        ("share", "nan", "option share is 'nan'; write a share"),
        ("share", "half", "option share is 'half'; write a share"),
        ("pages", "1.6", "option pages is '1.6'; write a share of more than 0 and at most 1.5"),
        ("pause", "5", "option pause is '5'; write a time of 0 or more with its unit, for example '5 ms'"),
        ("pause", "5 GB", "option pause is '5 GB'; write a time"),
        (
            "pause",
            "1e30 s",
            "write a time of 0 or more with its unit, for example '5 ms', and at most",
        ),
        ("share", "0.1_2", "option share is '0.1_2'; write a share"),
        ("share", "٣", "option share is '٣'; write a share"),
        ("share", "a" * 500, f"option share is '{'a' * 59}...; write a share"),
        ("only", "other", "option only is 'other'; write network"),
        ("pause", "-1 ms", "option pause is '-1 ms'; write a time of 0 or more"),
        ("budget", "much", "option budget is 'much'; write a size"),
        ("order", "fast", "option order is 'fast'; write one of serial, naive"),
        ("spill", "perhaps", "option spill is 'perhaps'; write on or off"),
        ("pair", "2", "option pair is '2'; write two counts, for example 2,4"),
    ],
)
def test_a_text_that_is_no_value_is_told_what_to_write(name: str, text: str, message: str) -> None:
    with pytest.raises(BadWorkload) as refused:
        Every.read({name: text})
    assert message in str(refused.value)


def test_values_of_a_wrong_type_are_refused_too() -> None:
    wrong = ({"parts": 0}, {"parts": 2.5}, {"spill": 1}, {"order": 3}, {"parts": None})
    for values in (*wrong, {"parts": True}, {"share": True}, {"pause": True}):
        with pytest.raises(BadWorkload, match=f"option {next(iter(values))} is"):
            Every(**values)
    assert Every(parts=7, pause=0.25).pause == 0.25


def test_an_unknown_option_names_the_nearest() -> None:
    with pytest.raises(BadWorkload, match="fuyou has no option 'shere'; did you mean 'share'"):
        Every.read({"shere": "1"}, "fuyou")
    with pytest.raises(BadWorkload, match="this strategy has no option 'x'; it has none"):
        Options.read({"x": "1"})


def test_help_says_unit_and_default() -> None:
    assert Every.explained() == {
        "parts": "parts of the batch (default 2)",
        "recent": "tokens kept (default 0)",
        "share": "of the memory (a share, default 0.9)",
        "pages": "pages read (a share)",
        "pause": "host time (a time, default 5 ms)",
        "budget": "of memory (a size, default all of it)",
        "order": "serial or naive: how steps follow (default serial)",
        "spill": "on or off: whether the rest goes to the drives (default on)",
        "only": "network: what to do instead",
        "pair": "devices (default 2,4)",
    }


def test_an_annotation_without_a_kind_is_the_authors_mistake() -> None:
    @dataclass(frozen=True)
    class Untyped(Options):
        steps: int = option(1, "steps")

    with pytest.raises(TypeError, match=r"Untyped\.steps is annotated as"):
        Untyped()
