"""One change anywhere in a right file: it is refused, or every element is still right in either order of its steps."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from plan_values import earliest, latest, wrong_elements

from controller.collectives.call import Call
from controller.collectives.errors import BadCall
from controller.collectives.group import Group
from controller.collectives.measure.calls import prepare

FILES = Path(__file__).parents[4] / "fixtures" / "msccl"
GROUP = Group(tuple(f"gpu{rank}" for rank in range(4)), ("hbm",) * 4)
PLACES = re.compile(r'(?<= )(type|srcbuf|dstbuf|srcoff|dstoff|depid|deps|send|recv)="([^"]*)"')
VALUES = {
    "type": ("s", "r", "rcs", "rrs", "rrc", "rrcs", "cpy", "re", "nop"),
    "srcbuf": ("i", "o", "s"),
    "dstbuf": ("i", "o", "s"),
}
NUMBERS = ("-1", "0", "1", "2", "3")
outcomes = {"refused": 0, "right": 0}


@pytest.mark.parametrize("name", ["ring_4", "allpairs_4"])
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_what_is_proven_is_right(name, data, tmp_path):
    text = (FILES / f"{name}.xml").read_text()
    places = list(PLACES.finditer(text))
    place = places[data.draw(st.integers(0, len(places) - 1), label="place")]
    value = data.draw(st.sampled_from(VALUES.get(place[1], NUMBERS)), label="value")
    path = tmp_path / f"{place.start()}{value}.xml"
    path.write_text(f'{text[: place.start()]}{place[1]}="{value}"{text[place.end() :]}')
    call = Call("all_reduce", GROUP, 32)
    try:
        plan = prepare(call, str(path)).plan
    except BadCall as refused:
        assert str(path) in str(refused)
        outcomes["refused"] += 1
        return
    outcomes["right"] += 1
    for pick in (earliest, latest):
        assert wrong_elements(call, plan, pick) == [0] * 4


def test_some_changes_were_refused_and_some_were_harmless():
    assert outcomes["refused"] > 20 and outcomes["right"] > 20
