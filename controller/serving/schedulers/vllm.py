"""vLLM: prompts first and whole, in iterations of their own; else all decode; the latest leaves when blocks run out.

Paper: Kwon et al., 'Efficient Memory Management for LLM Serving with PagedAttention', SOSP 2023, section 4.5.
Follows: waiting requests enter in their order while their prompts have blocks, a pass of at most `budget_tokens`; a
    decode step needs a block for every request at the edge of one, and where they lack, the request that came last
    leaves: its blocks are dropped and it is recomputed, or they are swapped to host memory and come back first.
Differs: the scheduler of vLLM before chunked prefill (v0); no beams, no copying on write.
Checked by: tests/unit/controller/serving/schedulers, the conformance suite.
"""

from __future__ import annotations

from controller.serving.iteration import IDLE, Iteration, PromptChunk
from controller.serving.schedulers.parts import ahead, leaving, whole_prompts
from controller.serving.state import InstanceState


def decide(state: InstanceState, now: float) -> Iteration:
    """A pass over prompts if any can enter, else a decode step."""
    # Who was swapped out goes on before anybody new comes in.
    back = ahead(state)
    if back:
        return Iteration(swap_in=back, decode=True)
    chunks: tuple[PromptChunk, ...] = () if state.swapped else whole_prompts(state, state.waiting)
    if chunks:
        return Iteration(chunks=chunks)
    if not state.decoding:
        return IDLE
    gone = leaving(state)
    if state.limits.swap:
        return Iteration(decode=len(gone) < len(state.decoding), swap_out=gone, steady=not gone)
    return Iteration(decode=len(gone) < len(state.decoding), preempt=gone, steady=not gone)
