"""What was probably meant by a name that is in no table."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


def nearest(name: str, known: Iterable[str], otherwise: str = "there are") -> str:
    """``did you mean 'llumnix'?``, or ``there are a, b`` where nothing known is close to `name`."""
    words = list(known)
    close = get_close_matches(name, words, 1)
    return f"did you mean {close[0]!r}?" if close else f"{otherwise} {', '.join(words) or 'none'}"
