"""Static batches, as FasterTransformer runs them: a batch is filled, padded, and runs until its last request has ended.

Paper: the baseline of Orca (Yu et al., OSDI 2022, section 2) and of Sarathi-Serve (arXiv 2403.02310, section 2):
    request-level scheduling.
Follows: when nobody runs, as many waiting requests as fit enter together, up to `budget_tokens` with padding; their
    prompts are padded to the longest, and a row whose request has ended computes on for nobody until the whole batch
    has ended.
Differs: memory is reserved for the tokens that a request will have, not for the longest that a model could make.
Checked by: tests/unit/controller/serving/schedulers, the conformance suite.
"""

from __future__ import annotations

from controller.serving.iteration import IDLE, Iteration, PromptChunk
from controller.serving.schedulers.parts import reserved_prompts
from controller.serving.state import InstanceState


def decide(state: InstanceState, now: float) -> Iteration:
    """A new batch when nobody runs, else a step of the one that does."""
    if state.decoding:
        return Iteration(decode=True, padding_rows=state.batch_count - len(state.decoding), steady=True)
    chunks: list[PromptChunk] = []
    longest = 0
    for chunk in reserved_prompts(state, state.waiting):
        longest = max(longest, chunk.tokens)
        if chunks and longest * (len(chunks) + 1) > state.limits.budget_tokens:
            break
        chunks.append(chunk)
    if not chunks:
        return IDLE
    longest = max(chunk.tokens for chunk in chunks)
    return Iteration(tuple(chunks), padding_tokens=sum(longest - chunk.tokens for chunk in chunks))
