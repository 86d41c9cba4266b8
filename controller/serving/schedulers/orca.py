"""Orca: who runs is decided for every iteration, whole prompts beside decodes.

Paper: Yu et al., 'Orca: A Distributed Serving System for Transformer-Based Generative Models', OSDI 2022, section 4.
Follows: algorithm 1: first come, first served; up to `max_requests` run; an admitted request has memory reserved for
    all of its tokens; prompts and decodes are batched selectively into one iteration.
Differs: memory is reserved for the tokens that a request will have, not for `max_tokens` of its client, which no trace
    has. ``hybrid`` is the same over a paged cache, which reserves nothing: hybrid batching alone, as Sarathi-Serve
    compares it.
Checked by: tests/unit/controller/serving/schedulers, the conformance suite.
"""

from __future__ import annotations

from controller.serving.iteration import Iteration
from controller.serving.schedulers.parts import leaving, reserved_prompts, spare_blocks, whole_prompts
from controller.serving.state import InstanceState


def decide(state: InstanceState, now: float) -> Iteration:
    """Everybody who runs, and whoever fits beside them."""
    chunks = reserved_prompts(state, state.waiting)
    return Iteration(chunks, bool(state.decoding), steady=not chunks)


def decide_paged(state: InstanceState, now: float) -> Iteration:
    """The same where blocks are taken as tokens come, and the latest leaves when they run out."""
    gone = leaving(state)
    if gone:
        return Iteration(decode=len(gone) < len(state.decoding), preempt=gone)
    chunks = whole_prompts(state, state.waiting, spare=spare_blocks(state) - state.growth_blocks)
    return Iteration(chunks, bool(state.decoding), steady=not chunks)
