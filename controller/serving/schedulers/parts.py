"""Decisions that several schedulers share: who enters with a whole prompt, who leaves, who comes back."""

from __future__ import annotations

from collections.abc import Iterable
from math import ceil

from controller.serving.iteration import PromptChunk
from controller.serving.state import InstanceState, RequestState


def spare_blocks(state: InstanceState) -> int:
    """Free blocks beyond the watermark that admission leaves; all of them where nobody runs."""
    if not state.running_count:
        return state.free_blocks
    return state.free_blocks - ceil(state.pool.capacity_blocks * state.limits.watermark)


def whole_prompts(
    state: InstanceState,
    waiting: Iterable[RequestState],
    most_tokens: int | None = None,
    spare: int | None = None,
    room: int | None = None,
) -> tuple[PromptChunk, ...]:
    """Waiting requests in their order whose whole prompts have room, up to the budget of one iteration.

    Args:
        state: of the instance.
        waiting: in the order in which they may enter; nobody overtakes who does not fit.
        most_tokens: of all prompts; None for the budget. A longer prompt enters alone.
        spare: blocks; None for those beyond the watermark.
        room: requests that may enter; None for as many as may run beside those that do.
    """
    budget = state.limits.budget_tokens if most_tokens is None else most_tokens
    if room is None:
        room = state.limits.max_requests - state.running_count
    if room <= 0:
        return ()
    free = spare_blocks(state) if spare is None else spare
    chosen: list[PromptChunk] = []
    for request in waiting:
        need = state.blocks_for(request.prompt_tokens)
        tokens = request.left_tokens
        if len(chosen) >= room or need > free or (tokens > budget and chosen):
            break
        if state.limits.max_prefills and len(chosen) >= state.limits.max_prefills:
            break
        free -= need
        budget -= tokens
        chosen.append(PromptChunk(request, tokens))
        if budget <= 0:
            break
    return tuple(chosen)


def reserved_prompts(
    state: InstanceState, waiting: Iterable[RequestState], most_tokens: int | None = None
) -> tuple[PromptChunk, ...]:
    """Waiting requests in their order for whose prompts and answers there is room, so that nobody ever leaves.

    Args:
        state: of the instance.
        waiting: in the order in which they may enter; nobody overtakes who does not fit.
        most_tokens: prompt tokens of all; None for any number. A longer prompt enters alone.
    """
    free, room = state.free_blocks, state.limits.max_requests - state.running_count
    chosen: list[PromptChunk] = []
    left = most_tokens
    for request in waiting:
        need = state.blocks_for(request.request.total_tokens)
        if len(chosen) >= room or need > free or (left is not None and chosen and request.left_tokens > left):
            break
        free -= need
        left = None if left is None else left - request.left_tokens
        chosen.append(PromptChunk(request, request.left_tokens, request.request.total_tokens))
    return tuple(chosen)


def leaving(
    state: InstanceState, wanted: int = 0, order: Iterable[RequestState] | None = None
) -> tuple[RequestState, ...]:
    """Requests that leave, the latest first, so that the others have blocks for a decode step.

    Args:
        state: of the instance.
        wanted: blocks that the iteration takes beside those of the step.
        order: of those that decode, who leaves first; None for the latest.
    """
    size = state.pool.block_tokens
    need = state.growth_blocks + wanted
    free = state.free_blocks
    if need <= free:
        return ()
    gone: list[RequestState] = []
    for request in state.latest_first() if order is None else order:
        gone.append(request)
        own = state.context_of(request) - request.shared_tokens
        held = state.own_blocks(request)
        free += held
        if own % size == 0 and held * size <= own:
            need -= 1
        if need <= free:
            break
    return tuple(gone)


def ahead(state: InstanceState) -> tuple[RequestState, ...]:
    """Requests in host memory that come back before the next step, in the order in which they left."""
    if not state.swapped:
        return ()
    free = state.free_blocks - state.growth_blocks
    room = state.limits.max_requests - state.running_count
    back: list[RequestState] = []
    for request in state.swapped.values():
        need = state.blocks_for(request.computed + 1)
        if need > free or len(back) >= room:
            break
        free -= need
        back.append(request)
    return tuple(back)
