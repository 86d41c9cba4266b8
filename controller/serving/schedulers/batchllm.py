"""BatchLLM: a whole job is grouped by shared prefixes beforehand; groups run together and give their prefix back.

Paper: Zheng et al., 'BatchLLM: Optimizing Large Batched LLM Inference with Global Prefix Sharing and
    Throughput-oriented Token Batching', arXiv 2412.03594, sections 4 and 5.
Follows: a tree of all prefixes, flattened to one level by the dynamic program that saves most tokens
    (`controller.serving.prefix_groups`); groups with the most output a prompt token first, so that decodes mix with the
    chunks of later groups; the batch is bounded by KV memory (`max_requests` is no bound), an iteration by its tokens.
Differs: the fused kernel over prefix and suffix is not modelled; a shared prefix is computed once and read by
    everybody.
Checked by: tests/unit/controller/serving/schedulers, tests/unit/controller/serving/test_prefix_groups.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from controller.serving.client_request import ClientRequest, RequestStreamSpec
from controller.serving.iteration import Iteration, PromptChunk
from controller.serving.prefix_groups import group_by_prefix
from controller.serving.schedulers.parts import leaving
from controller.serving.state import InstanceState


def prepare(stream: RequestStreamSpec) -> RequestStreamSpec:
    """The job in the order of its groups, each request with the prefix that its group shares and no other."""
    ordered: list[ClientRequest] = []
    groups = group_by_prefix(stream.requests)
    groups.sort(key=lambda group: -_output_ratio(group.requests))
    for rank, group in enumerate(groups):
        ordered += [replace(each, prefix=group.prefix, priority=rank) for each in group.requests]
    first_at = min((each.arrival_at for each in ordered), default=0.0)
    numbered = [replace(each, number=number, arrival_at=first_at) for number, each in enumerate(ordered)]
    note = f"{len(groups)} groups of shared prefixes; the job is there at once and runs in their order"
    return replace(stream, requests=numbered, users=0, notes=(*stream.notes, note))


def decide(state: InstanceState, now: float) -> Iteration:
    """Decodes, and chunks of prompts in the order of the groups, as far as tokens and memory allow."""
    left = state.limits.budget_tokens - len(state.decoding)
    gone = leaving(state)
    chunks: list[PromptChunk] = []
    for request in state.prefilling.values():
        tokens = min(left, request.left_tokens)
        if tokens <= 0:
            break
        left -= tokens
        chunks.append(PromptChunk(request, tokens))
    if not gone:
        free = state.free_blocks - state.growth_blocks
        sharing = {chunk.request.request.prefix[0] for chunk in chunks if chunk.request.request.prefix}
        for request in state.waiting:
            prefix, need = request.request.prefix, state.blocks_for(request.prompt_tokens)
            if left <= 0 or need > free or state.running_count + len(chunks) >= state.limits.max_requests:
                break
            # Who shares a prefix that is being computed waits until it is there.
            if prefix and prefix[0] in sharing and not state.pool.cached_hashes(prefix):
                break
            tokens = min(left, request.left_tokens)
            left, free = left - tokens, free - need
            chunks.append(PromptChunk(request, tokens, request.prompt_tokens))
            if prefix:
                sharing.add(prefix[0])
    decode = len(gone) < len(state.decoding)
    return Iteration(tuple(chunks), decode, preempt=gone, steady=not gone and not chunks)


def _output_ratio(requests: Sequence[ClientRequest]) -> float:
    return sum(each.output_tokens for each in requests) / sum(each.prompt_tokens for each in requests)
