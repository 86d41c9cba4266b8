"""Micro-batches that take turns: parts of a layer, with a pause wherever bytes are on their way."""

from __future__ import annotations

from collections.abc import Generator, Sequence

from controller.plan.script import Script, Value

Parts = Generator[None, None, Value]
"""Emits ops, pauses wherever they wait for the fabric, and gives the stream behind them."""


def at_once(parts: Parts) -> Value:
    """Emits all parts, one after the other."""
    while True:
        try:
            next(parts)
        except StopIteration as ended:
            value: Value = ended.value
            return value


def in_turns(s: Script, streams: Sequence[Parts]) -> list[Value]:
    """Emits the parts of several micro-batches in turn: one computes while another waits for the fabric."""
    found: dict[int, Value] = {}
    while len(found) < len(streams):
        for number, parts in enumerate(streams):
            if number not in found:
                s.microbatch = number
                try:
                    next(parts)
                except StopIteration as ended:
                    found[number] = ended.value
    return [found[number] for number in range(len(streams))]
