"""DeepSpeed-FastGen: every forward pass has the same number of tokens, out of decodes and pieces of prompts.

Paper: Holmes et al., 'DeepSpeed-FastGen', arXiv 2401.08671, section 3 (Dynamic SplitFuse).
Follows: long prompts are split over passes, short ones are put together, and the last one split, so that a pass has
    exactly `budget_tokens` tokens while prompts wait; decodes go first.
Differs: a request enters with blocks for its whole answer, since MII does not preempt.
Checked by: tests/unit/controller/serving/schedulers, the conformance suite.
"""

from __future__ import annotations

from controller.serving.iteration import Iteration, PromptChunk
from controller.serving.state import InstanceState


def decide(state: InstanceState, now: float) -> Iteration:
    """A pass of the fixed size, as far as there is work for it."""
    left = state.limits.budget_tokens - len(state.decoding)
    chunks: list[PromptChunk] = []
    for request in state.prefilling.values():
        if left <= 0:
            break
        tokens = min(left, request.left_tokens)
        left -= tokens
        chunks.append(PromptChunk(request, tokens))
    free, room = state.free_blocks, state.limits.max_requests - state.running_count
    for request in state.waiting:
        need = state.blocks_for(request.request.total_tokens)
        if left <= 0 or room <= 0 or need > free:
            break
        tokens = min(left, request.left_tokens)
        left, free, room = left - tokens, free - need, room - 1
        chunks.append(PromptChunk(request, tokens, request.request.total_tokens))
    return Iteration(tuple(chunks), bool(state.decoding), steady=not chunks)
