"""Round robin: every instance in turn."""

from __future__ import annotations

from controller.serving.client_request import ClientRequest
from controller.serving.cluster_state import ClusterState


def route(state: ClusterState, request: ClientRequest) -> int:
    """The next instance."""
    numbers = state.open_numbers()
    return numbers[state.routed % len(numbers)]
