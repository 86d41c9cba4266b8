"""Upper limits of workloads: beyond them a run would not end, or no device could hold it."""

from __future__ import annotations

from controller.errors import BadWorkload, check_limit, duration_text
from node.hardware.units import GIBI

MOST_BATCH = 1 << 20
"""Sequences processed together."""
MOST_TOKENS = 1 << 24
"""Tokens of one sequence."""
MOST_STEPS = 1_000_000
"""Training steps, and generated tokens: each of them is submitted and timed on its own."""
MOST_CAPACITY_FACTOR = 1e6
"""Capacity of an expert over its even share; beyond the number of experts nothing is ever dropped."""
STEP_S = 0.003
"""Wall time to emulate one decode step of llama-7b on one GPU, rounded down from 3.6 ms on two busy cores [s]."""


WORTH_SAYING_S = 60.0
"""From which on a command says how long it takes before it starts [s]."""


def steps_warning(what: str, steps: int) -> str:
    """How long the steps take at least, where that is long enough to say; "" otherwise."""
    seconds = steps * STEP_S
    if seconds < WORTH_SAYING_S:
        return ""
    return f"{steps:,} {what}: at least {duration_text(seconds)} at {STEP_S * 1000:g} ms each, more for a large model"


def check_steps(what: str, steps: int) -> None:
    """Refuses more steps than can be emulated.

    Raises:
        BadWorkload: more than `MOST_STEPS`.
    """
    cost = f"at {STEP_S * 1000:g} ms each at least this takes {duration_text(steps * STEP_S)}"
    fix = "ask for fewer: every step after the first few costs the same or changes evenly"
    check_limit(BadWorkload, what, steps, MOST_STEPS, cost, fix)


def check_batch(batch: int, activation_bytes: int) -> None:
    """Refuses a batch that no device could hold.

    Args:
        batch: sequences.
        activation_bytes: of one sequence between two layers [bytes].

    Raises:
        BadWorkload: more than `MOST_BATCH`.
    """
    cost = f"the activations between two layers alone take {batch * activation_bytes / GIBI:,.3g} GiB"
    check_limit(BadWorkload, "batch", batch, MOST_BATCH, cost, "write a smaller --batch")


def check_tokens(what: str, tokens: int, token_bytes: int, fix: str) -> None:
    """Refuses a sequence longer than any model is made for.

    Args:
        what: name of the length.
        tokens: of one sequence.
        token_bytes: of one token between two layers [bytes].
        fix: the way out.

    Raises:
        BadWorkload: more than `MOST_TOKENS`.
    """
    cost = f"one such sequence takes {tokens * token_bytes / GIBI:,.3g} GiB between two layers"
    check_limit(BadWorkload, what, tokens, MOST_TOKENS, cost, fix)
