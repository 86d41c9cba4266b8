"""Which requests a saturated server decodes in every iteration, when only the size of its KV cache limits the batch.

Iteration-level batching with a paged cache, prompts ready from elsewhere: waiting requests enter in their order as soon
as their prompt and one more token have room; every running request grows by a token an iteration; a request that ended
gives its blocks back before the next iteration. Where no block is left for growth, the request that came last leaves
and waits as the first in the queue, with its tokens so far as a longer prompt.

A server that starts empty is filled with requests that all begin at once. To leave that behind, the first requests of
the stream run once more before the stream: twice as many as fill the cache at first.

What runs in an iteration depends on lengths and room alone, not on how long iterations take, so the whole course is
known before anything is timed.
Source: Yu et al., 'Orca', OSDI 2022 (iterations); Kwon et al., 'PagedAttention', SOSP 2023, sections 4.2 to 4.5 (blocks
of 16 tokens, first come first served, the latest is preempted first).
Not modelled: a watermark of free blocks, copying on write, swapping (a preempted request costs nothing but its turn,
since prompts are free here).
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Final

import numpy as np

from controller.errors import BadWorkload
from controller.workload.requests import Lengths, RequestStream

BLOCK_TOKENS: Final = 16
"""Tokens of a block of the paged cache."""


@dataclass(frozen=True)
class Course:
    """What was decoded, iteration by iteration.

    Attributes:
        rows: requests in each iteration (n).
        tokens: cached tokens that the iteration attends to, new ones included, over all requests (n).
        measured: first iteration that counts and end: from the stream's first request on, the warm-up behind it, while
            requests were still waiting; all iterations if none ever was.
        left_out: requests that no empty cache could hold, which were refused.
        preempted: how often a request had to leave.
    """

    rows: Lengths
    tokens: Lengths
    measured: tuple[int, int]
    left_out: int
    preempted: int

    @property
    def counted(self) -> tuple[Lengths, Lengths]:
        """Rows and tokens of the iterations that count."""
        begin, end = self.measured
        return self.rows[begin:end], self.tokens[begin:end]


def decode_course(stream: RequestStream, blocks: int, max_rows: int = 0) -> Course:
    """Decodes a whole stream.

    Args:
        stream: the requests.
        blocks: of `BLOCK_TOKENS` tokens that the cache holds.
        max_rows: requests at once; 0 for as many as fit.

    Raises:
        BadWorkload: a cache that holds not one of the requests.
    """
    needs = -(-(stream.prompt_tokens + stream.output_tokens) // BLOCK_TOKENS)
    fits = needs <= blocks
    if not fits.any():
        raise BadWorkload(
            f"{stream.name}: the KV cache has {blocks} blocks of {BLOCK_TOKENS} tokens and the shortest request needs "
            f"{int(needs.min())}; give it more memory"
        )
    order = np.flatnonzero(fits)
    limit = max_rows or len(order)
    first_blocks = np.cumsum(-(-(stream.prompt_tokens[order] + 1) // BLOCK_TOKENS))
    warm = 2 * min(int(np.searchsorted(first_blocks, blocks, side="right")), limit)
    if warm >= 2 * len(order):
        warm = 0  # nothing ever waits
    order = np.concatenate([np.resize(order, warm), order])
    prompts, outputs = stream.prompt_tokens[order], stream.output_tokens[order]
    waiting = deque(range(len(order)))
    # By arrival among those that run: context so far, tokens still to come, number of the request.
    context, left, number = (np.empty(0, np.int64) for _ in range(3))
    held: Lengths = prompts.copy()
    to_come: Lengths = outputs.copy()
    rows: list[int] = []
    tokens: list[int] = []
    begin, end = -1, 0
    used = preempted = 0
    while waiting or len(number):
        while waiting and len(number) < limit:
            first = waiting[0]
            need = int(held[first] + 1 + BLOCK_TOKENS - 1) // BLOCK_TOKENS
            if used + need > blocks:
                break
            waiting.popleft()
            used += need
            context, left = np.append(context, held[first] + 1), np.append(left, to_come[first])
            number = np.append(number, first)
        # `context` counts the token that this iteration adds.
        rows.append(len(number))
        tokens.append(int(context.sum()))
        if waiting:
            end = len(rows)
            # A preempted request of the warm-up may wait again later; the begin stays.
            if begin < 0 and waiting[0] > warm:
                begin = len(rows) - 1
        left = left - 1
        goes_on = left > 0
        if not goes_on.all():
            context, left, number = context[goes_on], left[goes_on], number[goes_on]
        context = context + 1
        used = int((-(-context // BLOCK_TOKENS)).sum())
        while used > blocks:
            last = int(number[-1])
            held[last], to_come[last] = context[-1] - 1, left[-1]
            used -= int(-(-context[-1] // BLOCK_TOKENS))
            context, left, number = context[:-1], left[:-1], number[:-1]
            waiting.appendleft(last)
            preempted += 1
    return Course(
        np.array(rows, np.int64),
        np.array(tokens, np.int64),
        (begin, end) if 0 <= begin < end else (0, len(rows)),
        int((~fits).sum()),
        preempted,
    )


@dataclass(frozen=True, slots=True)
class Composition:
    """Iterations that are taken as equal.

    Attributes:
        rows: requests.
        context: mean cached tokens of a request, the new one included.
    """

    rows: int
    context: int


def compositions(course: Course, grain: int, most_tokens: int) -> tuple[list[Composition], Lengths]:
    """The iterations that count, in groups of nearly equal work.

    Rows and mean contexts are rounded to `grain` steps an octave at least (numbers up to `grain` stay exact), each to
    the nearest step, so that rounding up and down cancel over many iterations; an iteration is off by at most
    1 / (2 grain) in either. What would then be more than the cache holds is cut to it.

    Args:
        course: what ran.
        grain: steps; 0 for no rounding at all.
        most_tokens: that the cache holds.

    Returns:
        Each composition once, in the order of its first appearance, and for every iteration the index of its own.
    """
    rows, tokens = course.counted
    near_rows = _rounded(rows, grain)
    context = np.minimum(_rounded(np.maximum(tokens // rows, 1), grain), most_tokens // near_rows)
    found: dict[tuple[int, int], int] = {}
    index = np.empty(len(rows), np.int64)
    for at, key in enumerate(zip(near_rows.tolist(), context.tolist(), strict=True)):
        index[at] = found.setdefault(key, len(found))
    return [Composition(*key) for key in found], index


def _rounded(values: Lengths, grain: int) -> Lengths:
    if not grain:
        return values
    # Steps of a power of two: the largest that leaves at least `grain` of them in the number.
    exponent = np.maximum(np.floor(np.log2(values / grain)), 0).astype(np.int64)
    step = np.left_shift(np.int64(1), exponent)
    near: Lengths = (values + step // 2) // step * step
    return near
