"""Values as JSON text: the same values give the same bytes, and nothing is bent to fit."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np


def dumps(value: object) -> str:
    """`value` as indented JSON; keys stay in the order in which they were written down.

    Raises:
        ValueError: a number that is infinite or not a number; JSON has no word for it, and it is no result.
        TypeError: a value or key of a kind that has no JSON form; the message says where it is.
    """
    return json.dumps(plain(value), indent=2, ensure_ascii=False, allow_nan=False)


def plain(value: object, where: str = "") -> Any:
    """`value` as dict, list, str, int, float, bool and None.

    Frozen dataclasses become objects of their fields, tuples and arrays become lists, paths become text. Sets are
    refused, since their order means nothing.
    """
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, np.generic):
        return plain(value.item(), where)
    if isinstance(value, float):
        if not math.isfinite(value):
            raise ValueError(f"{where or 'the value'} is {value!r}, which JSON cannot hold and no result may be")
        return value
    if isinstance(value, Path):
        return str(value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {
            field.name: plain(getattr(value, field.name), f"{where}.{field.name}")
            for field in dataclasses.fields(value)
        }
    if isinstance(value, Mapping):
        return {_key(key, where): plain(item, f"{where}.{key}") for key, item in value.items()}
    if isinstance(value, Sequence | np.ndarray):
        return [plain(item, f"{where}[{index}]") for index, item in enumerate(value)]
    raise TypeError(f"{where or 'the value'} is a {type(value).__name__}, which has no JSON form")


def _key(key: object, where: str) -> str:
    if not isinstance(key, str):
        raise TypeError(f"{where or 'the value'} has the key {key!r}; JSON keys are text")
    return key
