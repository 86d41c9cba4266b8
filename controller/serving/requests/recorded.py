"""One request as a file has it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from controller.errors import BadWorkload

MOST_TOKENS = 10**9


@dataclass(frozen=True, slots=True)
class RecordedRequest:
    """A line of a file.

    Attributes:
        line: number in the file, from 1.
        at_s: when it arrived, on the clock of the file [s].
        prompt_tokens, output_tokens: lengths; an output of 0 is a request that failed.
        session: conversation; -1 for none.
        prefix, prefix_block_tokens: content hashes of the prompt's blocks, and tokens of each.
        note: what reading the format took for granted.
    """

    line: int
    at_s: float
    prompt_tokens: int
    output_tokens: int
    session: int = -1
    prefix: tuple[int, ...] = ()
    prefix_block_tokens: int = 16
    note: str = ""


def token_count(path: Path, line: int, name: str, value: object, least: int) -> int:
    """A whole number of tokens.

    Raises:
        BadWorkload: it is none, or out of range; names file, line and field.
    """
    text = str(value).strip()
    if text.endswith(".0"):
        text = text[:-2]
    if not (text.isascii() and text.isdigit()):
        raise BadWorkload(f"{path}:{line}: {name} is {value!r}, no whole number of tokens; correct or remove the line")
    found = int(text)
    if not least <= found <= MOST_TOKENS:
        raise BadWorkload(f"{path}:{line}: {name} is {found}; {least} to {MOST_TOKENS} can be; remove the line")
    return found


def seconds(path: Path, line: int, name: str, value: object, scale: float = 1.0) -> float:
    """An instant [s].

    Raises:
        BadWorkload: it is no number of at least 0; names file, line and field.
    """
    try:
        found = float(str(value)) * scale
    except ValueError:
        found = float("nan")
    if not 0 <= found < 1e12:
        raise BadWorkload(f"{path}:{line}: {name} is {value!r}, no time of at least 0; correct or remove the line")
    return found
