"""The keys of one configuration, each taken by name; every refusal names file, line and key."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from controller.errors import UnknownModel

_ACTIVATIONS = {
    "relu": "relu",
    "gelu": "gelu",
    "gelu_new": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
    "gelu_fast": "gelu_tanh",
    "silu": "silu",
    "swish": "silu",
    "gelu_10": "gelu",
    "gelu_python": "gelu",
}
MOST = 2**31
"""Largest whole number that any key may hold."""
MOST_LAYERS = 10_000
"""Most layers; every weight of every layer is named before anything runs."""
MOST_NUMBER = 1e30
_DTYPES = {"float32": "fp32", "float16": "fp16", "bfloat16": "bf16"}


def _says_nothing(value: Any) -> bool:
    return value is None or value is False or value in ([], {})  # a 0 says something, though it equals False


class Config:
    """The keys of one configuration file; every refusal names file and key."""

    def __init__(self, path: Path, keys: Mapping[str, Any], outer: Mapping[str, Any] | None = None) -> None:
        """Takes the keys of a file, or of an object in it; `outer` has those around it that hold for it too."""
        self.path, self._keys = path, {**(outer or {}), **keys}
        self.read: set[str] = set()
        self.nested: list[Config] = []
        self.rope_scaling = ""
        """How the rotation is scaled for longer contexts, as JSON."""
        self.notes: list[str] = []
        """What virtual runs leave out: it changes neither shapes nor bytes."""

    def refuse(self, why: str) -> UnknownModel:
        """The error that says what about this file cannot be used, at the line of the key that `why` begins with."""
        key = why.partition("'")[2].partition("'")[0]
        return UnknownModel(f"{self.path}{self._line(key)}: {why}")

    def note(self, what: str) -> None:
        """Keeps what a virtual run leaves out and a run with values cannot do."""
        self.notes.append(what)

    def only(self, key: str, wanted: Any, why: str) -> None:
        """Refuses any other value of `key` than `wanted`."""
        value = self.optional(key)
        if value is not None and value != wanted:
            raise self.refuse(f"{key!r} is {value!r}; {why}")

    def notes_so_far(self) -> tuple[str, ...]:
        """What was noted."""
        return tuple(self.notes)

    def adopt(self, key: str, value: Any) -> None:
        """Takes a key that an object in the file says for all of it."""
        self._keys = {**self._keys, key: value}

    def left_over(self) -> list[str]:
        """Keys that were never read and that hold something."""
        mine = [key for key, value in self._keys.items() if key not in self.read and not _says_nothing(value)]
        return [*mine, *(key for nested in self.nested for key in nested.left_over())]

    def _line(self, key: str) -> str:
        """``:LINE`` of the first mention of `key` in the file, "" where there is none."""
        try:
            lines = self.path.read_text(encoding="utf-8").splitlines() if key else []
        except (OSError, ValueError):
            return ""
        found = [number for number, line in enumerate(lines, 1) if f'"{key}"' in line]
        return f":{found[0]}" if found else ""

    def integer(self, key: str, default: int | None = None, most: int = MOST) -> int:
        """A positive whole number. Raises UnknownModel for anything else, or when absent without a default."""
        value = self._value(key, default)
        if not isinstance(value, int) or isinstance(value, bool) or value <= 0:
            raise self.refuse(f"{key!r} is {value!r}, expected a whole number above 0")
        if value > most:
            raise self.refuse(f"{key!r} is {value!r}, expected at most {most}")
        return value

    def number(self, key: str, default: float | None = None) -> float:
        """A positive number. Raises UnknownModel for anything else, or when absent without a default."""
        value = self._value(key, default)
        if not isinstance(value, int | float) or isinstance(value, bool) or not 0 < value <= MOST_NUMBER:
            raise self.refuse(f"{key!r} is {value!r}, expected a number above 0 and at most {MOST_NUMBER:g}")
        return float(value)

    def flag(self, key: str, default: bool) -> bool:
        """True or false. Raises UnknownModel when it is neither."""
        value = self._value(key, default)
        if not isinstance(value, bool):
            raise self.refuse(f"{key!r} is {value!r}, expected true or false")
        return value

    def optional(self, key: str) -> Any:
        """Whatever the file holds, None when absent or null."""
        self.read.add(key)
        return self._keys.get(key)

    def says_null(self, key: str) -> bool:
        """Whether the file holds `key` and says null."""
        return key in self._keys and self._keys[key] is None

    def activation(self, key: str, default: str | None = None) -> str:
        """Our name of the activation. Raises UnknownModel when there is none."""
        value = self._value(key, default)
        if not isinstance(value, str) or value not in _ACTIVATIONS:
            raise self.refuse(f"{key!r} is {value!r}, expected one of {', '.join(_ACTIVATIONS)}")
        return _ACTIVATIONS[value]

    def dtype(self) -> str:
        """Element type of the weights; an absent key means float32, as in PyTorch."""
        first, second = self.optional("dtype"), self.optional("torch_dtype")
        value = first or second or "float32"
        value = value.removeprefix("torch.") if isinstance(value, str) else value
        if not isinstance(value, str) or value not in _DTYPES:
            raise self.refuse(f"the weights are {value!r}, expected one of {', '.join(_DTYPES)}")
        return _DTYPES[value]

    def tokens(self, key: str) -> tuple[int, ...]:
        """Token ids: one, a list, or none. Raises UnknownModel for anything else."""
        value = self.optional(key)
        ids = [] if value is None else value if isinstance(value, list) else [value]
        if not all(isinstance(one, int) and one >= 0 for one in ids):
            raise self.refuse(f"{key!r} is {value!r}, expected a token id or a list of them")
        return tuple(ids)

    def mapping(self, key: str) -> Mapping[str, Any] | None:
        """An object, None when absent or null. Raises UnknownModel for anything else."""
        value = self.optional(key)
        if value is not None and not isinstance(value, dict):
            raise self.refuse(f"{key!r} is {value!r}, expected an object or null")
        return value

    def _value(self, key: str, default: Any) -> Any:
        value = self.optional(key)
        if value is None:
            if default is None:
                raise self.refuse(f"key {key!r} is missing; take the file as the model's publisher wrote it")
            return default
        return value
