"""Fairness: the client with the least service so far is served first.

Paper: Sheng et al., 'Fairness in Serving Large Language Models', OSDI 2024 (arXiv 2401.00588), algorithm 2: a virtual
    token counter for every client.
Follows: a client's counter grows by its prompt tokens and by twice its output tokens; whenever a request can enter, it
    is one of the client with the smallest counter; it is work-conserving and does not preempt for fairness.
Differs: a client is the session of a request, or its class where it has none; a client that comes late starts at its
    own counter, since the state of an instance does not say who has left.
Checked by: tests/unit/controller/serving/schedulers, the conformance suite.
"""

from __future__ import annotations

from collections.abc import Iterator

from controller.serving.iteration import IDLE, Iteration
from controller.serving.schedulers.parts import leaving, whole_prompts
from controller.serving.state import InstanceState, RequestState, client_of

OUTPUT_WEIGHT = 2
"""Service of an output token over that of a prompt token, as in the paper."""


def decide(state: InstanceState, now: float) -> Iteration:
    """A pass over prompts of the least served clients, else a decode step."""
    chunks = whole_prompts(state, least_served(state)) if state.waiting else ()
    if chunks:
        return Iteration(chunks)
    if not state.decoding:
        return IDLE
    gone = leaving(state)
    return Iteration(decode=len(gone) < len(state.decoding), preempt=gone, steady=not gone and not state.waiting)


def least_served(state: InstanceState) -> Iterator[RequestState]:
    """Waiting requests in the order in which they enter: each time one of the client with the smallest counter."""
    served = {client: prompt + OUTPUT_WEIGHT * output for client, (prompt, output) in state.served_tokens.items()}
    for request in state.decoding.values():
        client = client_of(request.request)
        served[client] = served.get(client, 0) + OUTPUT_WEIGHT * (state.step - request.joined_step)
    queues: dict[str, list[RequestState]] = {}
    for request in state.waiting:
        queues.setdefault(client_of(request.request), []).append(request)
    while queues:
        client = min(queues, key=lambda name: (served.get(name, 0), queues[name][0].request.number))
        request = queues[client].pop(0)
        if not queues[client]:
            del queues[client]
        served[client] = served.get(client, 0) + request.prompt_tokens
        yield request
