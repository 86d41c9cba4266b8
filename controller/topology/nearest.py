"""The end of an error about an unknown word: what is known, and what was probably meant."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

SHOWN_COUNT = 12
"""How many known words an error lists before it says how many more there are."""


def hint(word: str, known: Iterable[str], what: str) -> str:
    """``; did you mean 'csd'? known devices: cpu, csd, gpu``.

    Args:
        word: what was written.
        known: what could have been written; its order does not matter.
        what: plural noun for the list.
    """
    words = sorted(set(known))
    if not words:
        return f"; there are no {what}"
    near = difflib.get_close_matches(word, words, n=1) or _same_letters(word, words)
    meant = f"; did you mean {near[0]!r}?" if near else ";"
    shown = ", ".join(words[:SHOWN_COUNT])
    more = f" and {len(words) - SHOWN_COUNT} more" if len(words) > SHOWN_COUNT else ""
    return f"{meant} known {what}: {shown}{more}"


def _same_letters(word: str, words: list[str]) -> list[str]:
    """Words that differ from `word` in case alone, which difflib rates as far apart."""
    return [known for known in words if known.lower() == word.lower()]
