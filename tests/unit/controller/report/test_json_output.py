"""The same values give the same bytes; what JSON cannot say is refused."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from controller.report.json_output import dumps


@dataclass(frozen=True)
class Point:
    x: float
    names: tuple[str, ...]


def test_values_become_plain_json_in_the_order_written():
    value = {"z": Point(0.1, ("a", "b")), "a": np.float64(2.5), "n": np.arange(3), "p": Path("x/y"), "none": None}
    text = dumps(value)
    expected = {"z": {"x": 0.1, "names": ["a", "b"]}, "a": 2.5, "n": [0, 1, 2], "p": "x/y", "none": None}
    assert json.loads(text) == expected
    assert text.index('"z"') < text.index('"a"')
    assert dumps(value) == text


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), np.float32("nan")])
def test_what_is_no_number_is_refused_with_its_place(bad):
    with pytest.raises(ValueError, match=r"\.runs\[1\]\.time_s"):
        dumps({"runs": [{"time_s": 1.0}, {"time_s": bad}]})


@pytest.mark.parametrize("bad", [{1, 2}, object(), {1: "number as key"}])
def test_what_has_no_json_form_is_refused(bad):
    with pytest.raises(TypeError):
        dumps({"x": bad})
