"""SimGrid's quantities: bytes (Bps) or bits (bps) per second, decimal or binary, and durations."""

from __future__ import annotations

import math
import re
from decimal import Decimal

from controller.errors import BadTopology
from controller.topology.importing.markup import Element

SCALE = {"": 1.0, "k": 1e3, "K": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "P": 1e15, "E": 1e18}
BINARY = {"Ki": 2.0**10, "Mi": 2.0**20, "Gi": 2.0**30, "Ti": 2.0**40, "Pi": 2.0**50, "Ei": 2.0**60}
_NUMBER = r"([+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?)"
SECONDS = {
    "": 1.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "ns": 1e-9, "ps": 1e-12, "m": 60.0, "h": 3600.0, "d": 86400.0,
    "w": 604800.0,
}  # fmt: skip


def bandwidth_of(text: str, element: Element) -> float:
    """A bandwidth [bytes/s].

    Raises:
        BadTopology: not a quantity.
    """
    match = re.fullmatch(rf"{_NUMBER}\s*(?:([kKMGTPE]|[KMGTPE]i)?([Bb])ps)?", text.strip())
    try:
        amount = float(match[1]) if match else math.nan
    except ValueError:
        amount = math.nan
    if match is None or not 0 < amount < math.inf:
        raise BadTopology(f"{element.where}: {text!r} is not a bandwidth above 0; write for example 125MBps or 1Gbps")
    return amount * (SCALE | BINARY)[match[2] or ""] / (8 if match[3] == "b" else 1)


def latency_of_text(text: str, element: Element) -> float:
    """A latency [s].

    Raises:
        BadTopology: not a quantity.
    """
    match = re.fullmatch(rf"{_NUMBER}\s*([a-z]*)", text.strip())
    try:
        # In decimal, so that 50us is 5e-5 s and not its neighbour.
        amount = float(Decimal(match[1]) * Decimal(repr(SECONDS[match[2]]))) if match else math.nan
    except (ArithmeticError, KeyError):
        amount = math.nan
    if not 0 <= amount < math.inf:
        raise BadTopology(f"{element.where}: {text!r} is not a latency; write for example 50us")
    return amount
