"""The course of a batch that does not fit: by hand, and against a server with a table of blocks for every request."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controller.serving.recompute_course import recompute_course
from controller.workload.saturated import BLOCK_TOKENS, Course

Iterations = list[tuple[int, int]]


def pairs(course: Course) -> Iterations:
    return list(zip(course.rows.tolist(), course.tokens.tolist(), strict=True))


def test_three_requests_in_five_blocks_by_hand() -> None:
    course = recompute_course(3, 16, 18, 5, 1000)
    # Two enter with two blocks each. At 33 tokens both want a third: the second leaves, and comes back with 33 tokens
    # when the first has ended, beside the third request; it has its last token from that pass.
    assert pairs(course.passes) == [(2, 32), (2, 33 + 16)]
    together = [(2, 2 * length) for length in range(17, 33)]
    assert pairs(course.steps) == [*together, (1, 33), *((1, length) for length in range(17, 34))]
    assert (course.preempted, course.recomputed_tokens) == (1, 33)


def test_what_fits_is_one_pass_and_a_step_for_every_further_token() -> None:
    course = recompute_course(4, 10, 6, 4, 1000)
    assert pairs(course.passes) == [(4, 40)]
    assert pairs(course.steps) == [(4, 4 * length) for length in range(11, 16)]
    assert (course.preempted, course.recomputed_tokens) == (0, 0)


def test_passes_hold_so_many_tokens_and_come_before_steps() -> None:
    course = recompute_course(5, 10, 2, 100, 25)
    assert pairs(course.passes) == [(2, 20), (2, 20), (1, 10)]
    assert pairs(course.steps) == [(5, 55)]
    assert pairs(recompute_course(2, 30, 2, 100, 25).passes) == [(1, 30), (1, 30)]


def test_one_token_takes_no_step() -> None:
    course = recompute_course(3, 16, 1, 2, 1000)
    # Nothing is cached after the prompt, so one block is enough for each.
    assert pairs(course.passes) == [(2, 32), (1, 16)]
    assert pairs(course.steps) == []


def test_a_cache_that_cannot_hold_one_request() -> None:
    assert recompute_course(1, 16, 17, 2, 1000).preempted == 0
    with pytest.raises(ValueError, match="a request of 33 cached tokens needs 3"):
        recompute_course(1, 16, 18, 2, 1000)


class Request:
    """Tokens of text, how many of them are cached, and the blocks that hold those."""

    def __init__(self, prompt: int) -> None:
        self.tokens, self.cached, self.table = prompt, 0, []


def obvious(batch: int, prompt: int, output: int, blocks: int, pass_tokens: int) -> tuple[Iterations, Iterations]:
    """Takes and gives blocks one by one."""
    free = list(range(blocks))
    waiting, running = [Request(prompt) for _ in range(batch)], []
    passes, steps = [], []
    last = prompt + output

    def leave(request: Request) -> None:
        free.extend(request.table)
        request.table, request.cached = [], 0
        running.remove(request)

    def missing(request: Request, tokens: int) -> int:
        return max(0, -(-tokens // BLOCK_TOKENS) - len(request.table))

    while waiting or running:
        entering: list[Request] = []
        # Blocks that the next token of those who run will take are not for others.
        spare = len(free) - sum(missing(request, request.tokens) for request in running)
        while waiting:
            head = waiting[0]
            to_hold = head.tokens + (1 if head.tokens + 1 < last else 0)
            if missing(head, to_hold) > spare:
                break
            if entering and sum(other.tokens for other in entering) + head.tokens > pass_tokens:
                break
            spare -= missing(head, to_hold)
            head.table = [free.pop() for _ in range(missing(head, head.tokens))]
            entering.append(waiting.pop(0))
        if entering:
            passes.append((len(entering), sum(request.tokens for request in entering)))
            running += entering
            for request in entering:
                request.cached, request.tokens = request.tokens, request.tokens + 1
                if request.tokens == last:
                    leave(request)
            continue
        for request in list(running):
            while request in running and missing(request, request.tokens) > len(free):
                latest = running[-1]
                leave(latest)
                waiting.insert(0, latest)
            if request in running:
                request.table += [free.pop() for _ in range(missing(request, request.tokens))]
        steps.append((len(running), sum(request.tokens for request in running)))
        for request in list(running):
            request.cached, request.tokens = request.tokens, request.tokens + 1
            if request.tokens == last:
                leave(request)
    assert len(free) == blocks
    return passes, steps


@settings(max_examples=80, deadline=None)
@given(st.integers(1, 9), st.integers(1, 50), st.integers(1, 50), st.integers(7, 24), st.sampled_from([20, 64, 10**6]))
def test_it_is_what_the_obvious_server_does(
    batch: int, prompt: int, output: int, blocks: int, pass_tokens: int
) -> None:
    course = recompute_course(batch, prompt, output, blocks, pass_tokens)
    assert (pairs(course.passes), pairs(course.steps)) == obvious(batch, prompt, output, blocks, pass_tokens)
    # Every token is given once, and nothing is attended to that the cache does not hold.
    assert course.passes.rows.sum() + course.steps.rows.sum() == batch * output
    assert (course.steps.tokens <= blocks * BLOCK_TOKENS).all()
    assert (course.preempted == 0) == (course.recomputed_tokens == 0)
