"""Which names hosts, devices, switches and links may have.

A device's name becomes a folder (flash tiers), a track of a trace and the left of a dot in overrides, so it holds
letters, digits, ``_`` and ``-`` only: nothing that leaves a folder, and no dot.
"""

from __future__ import annotations

import re

NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,62}")

RESERVED = ("link", "links", "options", "hosts", "switches", "name", "fabric", "prices")
"""First words of overrides and keys of the file: a device of that name could not be addressed."""


def name_complaint(name: str, what: str) -> str:
    """Why `name` cannot be the name of a `what`, or "" when it can."""
    if not NAME.fullmatch(name):
        return (
            f"{name!r} cannot name a {what}: a name starts with a letter and holds letters, digits, '_' and '-', "
            f"at most 63; rename it"
        )
    if name in RESERVED:
        return f"{name!r} cannot name a {what}: the word is taken by overrides ({', '.join(RESERVED)}); rename it"
    return ""
