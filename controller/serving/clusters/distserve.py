"""DistServe: prompts and decodes on instances of their own; the KV cache is pulled from one to the other.

Paper: Zhong et al., 'DistServe: Disaggregating Prefill and Decoding for Goodput-optimized Large Language Model
    Serving', OSDI 2024 (arXiv 2401.09670), section 4.3.
Follows: first come, first served; a request goes to the prefill instance with the shortest queue, then to the decode
    instance with the least load, which pulls its KV cache as soon as it has room: the memory of the prefill instance is
    the queue.
Differs: nothing.
Checked by: tests/unit/controller/serving/clusters, `windtunnel reproduce distserve`.
"""

from __future__ import annotations

from controller.serving.client_request import ClientRequest
from controller.serving.cluster_state import DECODE, PREFILL, ClusterState


def route(state: ClusterState, request: ClientRequest) -> int:
    """The prefill instance with the fewest tokens waiting."""
    return min(state.open_numbers(PREFILL), key=lambda number: (_queued_tokens(state, number), number))


def _queued_tokens(state: ClusterState, number: int) -> int:
    instance = state.instances[number]
    return sum(each.left_tokens for each in (*instance.waiting, *instance.prefilling.values()))


def pull_to(state: ClusterState, request: ClientRequest) -> int:
    """The decode instance with the least load."""
    return min(
        state.open_numbers(DECODE),
        key=lambda number: (len(state.instances[number].decoding) + sum(to == number for to in state.moving.values()),
                            number),
    )  # fmt: skip
