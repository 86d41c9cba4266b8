"""How unevenly even a balanced router fills experts: all devices wait for the expert that most tokens chose.

Each token chooses `chosen` of `count` experts, every one as likely as the others, so the tokens of one are binomial. Of
many experts one is the busiest, and its expected rows are above the mean: by a tenth where the mean is some hundreds.
Not modelled: that experts share the same tokens, which makes their loads depend on each other a little.
"""

from __future__ import annotations

from functools import lru_cache
from math import exp, lgamma, log, sqrt

REACH = 12.0
"""Standard deviations from the mean that are looked at."""


@lru_cache(maxsize=4096)
def busiest_rows(tokens: int, share: float, slots: int) -> float:
    """Expected rows of the slot with the most, of `slots` that each get one token in 1 / `share` at random.

    Args:
        tokens: of all devices.
        share: chance that a token goes to a slot.
        slots: that are alike.
    """
    if share >= 1.0 or tokens <= 0:
        return float(max(0, tokens))
    mean = tokens * share
    reach = REACH * sqrt(mean * (1.0 - share)) + REACH
    first, last = max(0, int(mean - reach)), min(tokens, int(mean + reach) + 1)
    below, expected = 0.0, float(first)
    for rows in range(first, last):
        chance = lgamma(tokens + 1) - lgamma(rows + 1) - lgamma(tokens - rows + 1)
        below += exp(chance + rows * log(share) + (tokens - rows) * log(1.0 - share))
        expected += 1.0 - min(1.0, below) ** slots
    return expected
