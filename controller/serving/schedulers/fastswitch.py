"""FastSwitch: priorities that change while requests run, and swaps in a few large copies instead of many small ones.

Paper: Shen et al., 'FastSwitch: Optimizing Context Switching Efficiency in Fairness-aware LLM Serving', arXiv
    2411.18424, sections 3 and 4.
Follows: priorities are drawn anew every `priority_steps` decode steps; whoever is most important runs, others go to
    host memory and come back; blocks of a request lie in contiguous groups of `group_blocks` (a dynamic block group),
    each of which is one copy, where a paged cache copies block by block. ``fastswitch`` has groups of 64 blocks,
    ``vllm_priority`` none: the same decisions with a copy for every block.
Differs: the paper's groups grow and shrink as a buddy allocator lets them; here they have one size. Swaps are not
    hidden behind iterations, and copies of earlier turns are not kept.
Checked by: tests/unit/controller/serving/schedulers, the conformance suite.
"""

from __future__ import annotations

from zlib import crc32

from controller.serving.iteration import IDLE, Iteration, PromptChunk
from controller.serving.schedulers.parts import whole_prompts
from controller.serving.state import WAITING, InstanceState, RequestState


def decide(state: InstanceState, now: float) -> Iteration:
    """Whoever is most important runs, as far as there are blocks."""
    if not (state.waiting or state.swapped) and state.growth_blocks <= state.free_blocks:
        return Iteration(decode=True, steady=True) if state.decoding else IDLE
    chosen = _most_important(state)
    gone = tuple(request for request in state.decoding.values() if request not in chosen)
    back = tuple(request for request in state.swapped.values() if request in chosen)
    chunks: tuple[PromptChunk, ...] = ()
    if not back:
        entering = [request for request in state.waiting if request in chosen]
        spare = state.free_blocks + sum(map(state.own_blocks, gone)) - state.growth_blocks
        chunks = whole_prompts(state, entering, spare=spare, room=len(entering)) if entering else ()
    decode = not chunks and len(gone) < len(state.decoding) + len(back)
    return Iteration(chunks, decode, swap_out=gone, swap_in=back)


def _most_important(state: InstanceState) -> set[RequestState]:
    """Requests that may run now: in the order of importance as long as their tokens and the next one have blocks."""
    epoch = state.step // max(1, state.limits.priority_steps)
    everybody = [*state.decoding.values(), *state.swapped.values(), *state.waiting]
    everybody.sort(key=lambda request: (_priority(request, epoch), request.request.number))
    left = state.pool.capacity_blocks
    chosen: set[RequestState] = set()
    for request in everybody:
        context = request.prompt_tokens if request.stage == WAITING else state.context_of(request)
        need = state.blocks_for(context + 1)
        if need > left or len(chosen) >= state.limits.max_requests:
            break
        left -= need
        chosen.add(request)
    return chosen


def _priority(request: RequestState, epoch: int) -> int:
    """Drawn anew for every epoch, from nothing but the number of the request."""
    who = request.request.session if request.request.session >= 0 else request.request.number
    return crc32(f"{who}.{epoch}".encode())
