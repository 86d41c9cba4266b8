"""Sarathi-Serve: every iteration has a budget of tokens; decodes first, then chunks of prompts into what is left.

Paper: Agrawal et al., 'Taming Throughput-Latency Tradeoff in LLM Inference with Sarathi-Serve', OSDI 2024,
    arXiv 2403.02310, section 4.
Follows: algorithm 3: all running decodes take a token each; then the rest of prompts that were begun; then new
    requests, cut to what is left of the budget, while their prompts have blocks.
Differs: nothing; the budget is `budget_tokens`, which the paper finds by profiling.
Checked by: tests/unit/controller/serving/schedulers, the conformance suite.
"""

from __future__ import annotations

from controller.serving.iteration import Iteration, PromptChunk
from controller.serving.schedulers.parts import leaving, spare_blocks
from controller.serving.state import InstanceState


def decide(state: InstanceState, now: float) -> Iteration:
    """Decodes and chunks of prompts within the budget."""
    left = state.limits.budget_tokens - len(state.decoding)
    gone = leaving(state)
    chunks: list[PromptChunk] = []
    for request in state.prefilling.values():
        if left <= 0:
            break
        tokens = min(left, request.left_tokens)
        left -= tokens
        chunks.append(PromptChunk(request, tokens))
    if not gone and state.waiting and left > 0:
        free = spare_blocks(state) - state.growth_blocks
        room = state.limits.max_requests - state.running_count
        for request in state.waiting:
            need = state.blocks_for(request.prompt_tokens)
            if room <= 0 or left <= 0 or need > free:
                break
            tokens = min(left, request.left_tokens)
            left, free, room = left - tokens, free - need, room - 1
            chunks.append(PromptChunk(request, tokens, request.prompt_tokens))
    decode = len(gone) < len(state.decoding)
    if state.limits.swap:
        return Iteration(tuple(chunks), decode, swap_out=gone, steady=not gone and not chunks)
    return Iteration(tuple(chunks), decode, preempt=gone, steady=not gone and not chunks)
