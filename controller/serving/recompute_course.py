"""Which requests run in every iteration when the cache is too small for all, and those that leave are recomputed.

A batch of equal requests waits at the start. An iteration is either a pass over prompts or a decode step, passes
first: waiting requests enter in their order as soon as their tokens so far and the next one have blocks, up to so many
tokens a pass. In a decode step every running request grows by a token; where blocks run out, the request that came
last leaves, its keys and values are dropped, and it waits as the first in the queue with its tokens so far as a longer
prompt.

Unlike `controller.workload.saturated`, where prompts come for free and a stream never ends, a pass gives a token and
takes time, and the batch runs until its last request has ended.

Source: Kwon et al., 'PagedAttention', SOSP 2023, sections 4.2 to 4.5 (blocks of 16 tokens, first come first served, the
latest is preempted first, recomputation over the prompt and the tokens so far at once).
Not modelled: a watermark of free blocks, a limit on the number of sequences, copying on write, prompts in chunks.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import numpy as np

from controller.workload.requests import Lengths
from controller.workload.saturated import BLOCK_TOKENS, Course


@dataclass(frozen=True)
class RecomputeCourse:
    """What ran until the last request had ended.

    Attributes:
        passes: over prompts: rows, and tokens of all rows together.
        steps: of decoding: rows, and tokens that they attend to, new ones included.
        preempted: how often a request had to leave.
        recomputed_tokens: that passes went over beyond every prompt once.
    """

    passes: Course
    steps: Course
    preempted: int
    recomputed_tokens: int


def blocks_of(tokens: int) -> int:
    """Blocks that so many tokens of one request take."""
    return -(-tokens // BLOCK_TOKENS)


def recompute_course(
    batch: int, prompt_tokens: int, output_tokens: int, blocks: int, pass_tokens: int
) -> RecomputeCourse:
    """Runs a batch to its end.

    Args:
        batch: requests.
        prompt_tokens: of each.
        output_tokens: of each; a pass gives the first one, and after a preemption the next one.
        blocks: of `BLOCK_TOKENS` tokens that the cache holds.
        pass_tokens: of one pass, at most, unless a single request has more.

    Raises:
        ValueError: a cache that cannot hold one request to its end.
    """
    end = prompt_tokens + output_tokens
    # The last token is never cached.
    if blocks_of(end - 1) > blocks:
        raise ValueError(f"{blocks} blocks; a request of {end - 1} cached tokens needs {blocks_of(end - 1)}")
    waiting = deque([prompt_tokens] * batch)
    # By arrival: prompt and tokens so far, the last of which is cached by the next step.
    length: Lengths = np.empty(0, np.int64)
    passes: list[tuple[int, int]] = []
    steps: list[tuple[int, int]] = []
    preempted = 0
    while waiting or len(length):
        used = int((-(-length // BLOCK_TOKENS)).sum())
        entered: list[int] = []
        while waiting and (not entered or sum(entered) + waiting[0] <= pass_tokens):
            need = blocks_of(min(waiting[0] + 1, end - 1))
            if used + need > blocks:
                break
            used += need
            entered.append(waiting.popleft())
        if entered:
            passes.append((len(entered), sum(entered)))
            length = np.append(length, np.array(entered, np.int64) + 1)
            length = length[length < end]
            continue
        while used > blocks:
            used -= blocks_of(int(length[-1]))
            waiting.appendleft(int(length[-1]))
            length = length[:-1]
            preempted += 1
        steps.append((len(length), int(length.sum())))
        length = length + 1
        length = length[length < end]
    passed = sum(tokens for _, tokens in passes)
    return RecomputeCourse(
        _course(passes, preempted), _course(steps, preempted), preempted, passed - batch * prompt_tokens
    )


def _course(iterations: list[tuple[int, int]], preempted: int) -> Course:
    pairs = np.array(iterations, np.int64).reshape(-1, 2)
    return Course(pairs[:, 0], pairs[:, 1], (0, len(pairs)), 0, preempted)
