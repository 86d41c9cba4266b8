"""What varies on a healthy cluster, drawn from a seed: none of it is a fault, and some of it looks like one.

===================  ===============================================================================================
compute              10 % with autocorrelation 0.8, on every rank by itself
garbage collection   1 % of the steps of a rank take three times as long
sequence lengths     10 %, the same for all ranks of a replica, new in every step
stages               the last one computes more (the workload says how much)
checkpoints          all ranks write for some seconds, not all as long
evaluation           all ranks do something else for some seconds
neighbours           8 % with autocorrelation 0.8 on messages between two hosts, the same for all pairs of those hosts
===================  ===============================================================================================

Source: faults.md, section 2, for compute and garbage collection [T]; the other sizes are assumed.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Times = NDArray[np.float64]
Numbers = NDArray[np.int64]
COMPUTE, CORRELATION, PAUSED, PAUSE = 0.10, 0.8, 0.01, 3.0
LENGTHS, NEIGHBOURS = 0.10, 0.08
CHECKPOINT_EVERY, CHECKPOINT_S, CHECKPOINT_SPREAD = 200, 8.0, 0.15
EVALUATION_EVERY, EVALUATION_S = 500, 20.0
LONGEST_BLOCK = 512
"""Steps that are drawn at once."""


@dataclass(frozen=True, slots=True)
class NoiseBlock:
    """Some steps of noise.

    Attributes:
        compute: factor on what each rank computes (steps, n).
        added_s: what each rank does besides [s] (steps, n).
        messages: factor on how long the messages of each pair take (steps, m).
    """

    compute: Times
    added_s: Times
    messages: Times


class Noise:
    """The noise of a run, block after block.

    Args:
        seed: of everything that is drawn.
        ranks: how many.
        replica: of each rank (n).
        crossing: number of the pair of hosts that each pair of ranks crosses; -1 within a host (m).
    """

    def __init__(self, seed: tuple[int, ...], ranks: int, replica: Numbers, crossing: Numbers) -> None:
        self._random = np.random.default_rng([*seed, 0x6E6F])
        self._ranks, self._replica, self._crossing = ranks, replica, crossing
        self._own = COMPUTE * self._random.standard_normal(ranks)
        self._roads = NEIGHBOURS * self._random.standard_normal(int(crossing.max(initial=-1)) + 1)
        self._step = 0

    def block(self, steps: int) -> NoiseBlock:
        """The next `steps` steps."""
        random, ranks = self._random, self._ranks
        own = _walk(self._own, COMPUTE, random.standard_normal((steps, ranks)))
        roads = _walk(self._roads, NEIGHBOURS, random.standard_normal((steps, len(self._roads))))
        self._own, self._roads = own[-1], roads[-1]
        lengths = LENGTHS * random.standard_normal((steps, int(self._replica.max()) + 1))
        pauses = np.where(random.random((steps, ranks)) < PAUSED, PAUSE, 1.0)
        # With one rank a replica the lengths would be further noise of the rank itself.
        shared = lengths[:, self._replica] if self._replica.max() + 1 < ranks else 0.0
        compute = np.exp(own + shared) * pauses
        numbers = self._step + 1 + np.arange(steps)
        added = np.zeros((steps, ranks))
        saves = numbers % CHECKPOINT_EVERY == 0
        spread = np.exp(CHECKPOINT_SPREAD * random.standard_normal((int(saves.sum()), ranks)))
        added[saves] += CHECKPOINT_S * spread
        added[numbers % EVALUATION_EVERY == 0] += EVALUATION_S
        messages = np.ones((steps, len(self._crossing)))
        far = self._crossing >= 0
        messages[:, far] = np.exp(roads)[:, self._crossing[far]]
        self._step += steps
        return NoiseBlock(compute, added, messages)


def _walk(last: Times, size: float, shocks: Times) -> Times:
    """Autocorrelated values that go on from `last` (steps, series)."""
    found = np.empty_like(shocks)
    fresh = size * np.sqrt(1.0 - CORRELATION**2)
    for step, shock in enumerate(shocks):
        last = CORRELATION * last + fresh * shock
        found[step] = last
    return found


def crossings(hosts: tuple[str, ...], source: Numbers, target: Numbers) -> Numbers:
    """Number of the pair of hosts, by direction, that each pair of ranks crosses; -1 within a host (m)."""
    number_of: dict[tuple[str, str], int] = {}
    found = np.full(len(source), -1, np.int64)
    for index, (a, b) in enumerate(zip(source.tolist(), target.tolist(), strict=True)):
        if hosts[a] != hosts[b]:
            found[index] = number_of.setdefault((hosts[a], hosts[b]), len(number_of))
    return found
