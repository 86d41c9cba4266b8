"""Least loaded: the instance with the fewest KV blocks in use and asked for, as INFaaS++ of Llumnix' evaluation.

Paper: Llumnix, OSDI 2024 (arXiv 2406.03243), section 6.1: dispatch to the least loaded instance, where the load counts
    the memory of running requests and the demand of those that wait.
"""

from __future__ import annotations

from controller.serving.client_request import ClientRequest
from controller.serving.cluster_state import ClusterState
from controller.serving.state import InstanceState


def route(state: ClusterState, request: ClientRequest) -> int:
    """The instance with the smallest load."""
    return min(state.open_numbers(), key=lambda number: (load_blocks(state.instances[number]), number))


def load_blocks(instance: InstanceState) -> int:
    """Blocks in use, and those that waiting requests will take for their prompts."""
    waiting = sum(instance.blocks_for(each.prompt_tokens) for each in instance.waiting)
    return instance.pool.held_blocks + waiting
