"""Priorities: the most important waiting request enters first, and whoever is less important leaves for it.

Paper: vLLM's policy ``priority`` (vllm-project/vllm, pull request 5958); a lower number is more important.
Follows: waiting requests in the order of (priority, arrival); where the first of them has no blocks, running requests
    of a lower importance leave, the least important and latest first, and are recomputed.
Differs: nothing.
Checked by: tests/unit/controller/serving/schedulers, the conformance suite.
"""

from __future__ import annotations

from controller.serving.iteration import IDLE, Iteration
from controller.serving.schedulers.parts import leaving, spare_blocks, whole_prompts
from controller.serving.state import InstanceState, RequestState

Rank = tuple[int, float, int]


def rank(state: RequestState) -> Rank:
    """The order of importance, most important first."""
    request = state.request
    return request.priority, request.arrival_at, request.number


def decide(state: InstanceState, now: float) -> Iteration:
    """A pass over the most important prompts if any can enter, else a decode step."""
    waiting = sorted(state.waiting, key=rank)
    chunks = whole_prompts(state, waiting)
    if chunks:
        return Iteration(chunks)
    if waiting:
        gone = _less_important(state, waiting[0])
        if gone:
            return Iteration(preempt=gone)
    if not state.decoding:
        return IDLE
    order = sorted(state.decoding.values(), key=rank, reverse=True)
    gone = leaving(state, order=order)
    return Iteration(decode=len(gone) < len(state.decoding), preempt=gone, steady=not gone)


def _less_important(state: InstanceState, first: RequestState) -> tuple[RequestState, ...]:
    """Running requests that leave so that `first` can enter; none where not even all of them would do."""
    need = state.blocks_for(first.prompt_tokens)
    free, room = spare_blocks(state), state.limits.max_requests - state.running_count
    gone: list[RequestState] = []
    for request in sorted(state.decoding.values(), key=rank, reverse=True):
        if (need <= free and room > 0) or request.request.priority <= first.request.priority:
            break
        free, room = free + state.own_blocks(request), room + 1
        gone.append(request)
    return tuple(gone) if need <= free and room > 0 else ()
