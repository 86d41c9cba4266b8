"""The course of a saturated server against a slow and obvious one, and what can be said by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controller.errors import BadWorkload
from controller.workload.lengths import draw_stream
from controller.workload.requests import RequestStream
from controller.workload.saturated import BLOCK_TOKENS, compositions, decode_course


def stream(*pairs: tuple[int, int]) -> RequestStream:
    prompts, outputs = zip(*pairs, strict=True)
    return RequestStream("mine", np.array(prompts, np.int64), np.array(outputs, np.int64))


def blocks_of(tokens: int) -> int:
    return -(-tokens // BLOCK_TOKENS)


def obvious(pairs: list[tuple[int, int]], blocks: int, limit: int) -> tuple[list[int], list[int]]:
    """One request at a time, without a warm-up."""
    waiting = [[prompt, output] for prompt, output in pairs]
    running: list[list[int]] = []
    rows, tokens = [], []
    while waiting or running:
        while waiting and len(running) < limit:
            if sum(blocks_of(held + 1) for held, _ in running) + blocks_of(waiting[0][0] + 1) > blocks:
                break
            running.append(waiting.pop(0))
        rows.append(len(running))
        tokens.append(sum(held + 1 for held, _ in running))
        running = [[held + 1, left - 1] for held, left in running if left > 1]
        while sum(blocks_of(held + 1) for held, _ in running) > blocks:
            waiting.insert(0, running.pop())
    return rows, tokens


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.integers(1, 60), st.integers(1, 40)), min_size=1, max_size=12),
    st.integers(7, 20),
    st.integers(1, 8),
)
def test_it_is_what_the_obvious_server_does(pairs: list[tuple[int, int]], blocks: int, limit: int) -> None:
    given_stream = stream(*pairs)
    course = decode_course(given_stream, blocks, limit)
    first = np.cumsum([blocks_of(prompt + 1) for prompt, _ in pairs])
    warm = 2 * min(int((first <= blocks).sum()), limit)
    warm = 0 if warm >= 2 * len(pairs) else warm
    rows, tokens = obvious([pairs[index % len(pairs)] for index in range(warm)] + pairs, blocks, limit)
    assert (course.rows.tolist(), course.tokens.tolist()) == (rows, tokens)
    begin, end = course.measured
    assert 0 <= begin < end <= len(rows)


def test_every_token_is_decoded_once_without_a_warm_up() -> None:
    course = decode_course(stream((10, 5), (20, 7)), 1000)
    assert course.rows.sum() == 12
    assert course.tokens[0] == 11 + 21
    assert course.measured == (0, 7)


def test_a_full_cache_stays_full() -> None:
    """Rows and tokens that count hold at least nine tenths of the cache: a request has 1,400 tokens of 450,000."""
    blocks = 450_000 // BLOCK_TOKENS
    course = decode_course(draw_stream("azure_conv", 0), blocks)
    rows, tokens = course.counted
    assert (tokens <= blocks * BLOCK_TOKENS).all()
    assert tokens.mean() > 0.9 * blocks * BLOCK_TOKENS
    assert course.preempted > 0
    assert 280 < rows.mean() < 350


def test_a_request_that_no_cache_holds_is_left_out_and_counted() -> None:
    course = decode_course(stream((10, 5), (1000, 1)), 10)
    assert (course.left_out, course.rows.sum()) == (1, 5)
    with pytest.raises(BadWorkload, match="10 blocks of 16 tokens and the shortest request needs 63"):
        decode_course(stream((1000, 1)), 10)


def test_rounding_keeps_rows_and_tokens() -> None:
    blocks = 450_000 // BLOCK_TOKENS
    course = decode_course(draw_stream("azure_conv", 0), blocks)
    rows, tokens = course.counted
    groups, index = compositions(course, 32, blocks * BLOCK_TOKENS)
    near = np.array([[group.rows, group.rows * group.context] for group in groups])[index]
    assert len(groups) < 60
    assert np.abs(near[:, 0] / rows - 1).max() <= 1 / 64 + 1e-9
    assert near.sum(0) == pytest.approx([rows.sum(), tokens.sum()], rel=0.005)
    assert (near[:, 1] <= blocks * BLOCK_TOKENS).all()
    exact, index = compositions(course, 0, blocks * BLOCK_TOKENS)
    assert [exact[at].rows for at in index] == rows.tolist()
