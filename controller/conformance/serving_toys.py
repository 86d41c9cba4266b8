"""Small servers that a scheduler is tried on: times from a formula, pools that are nearly too small, odd requests."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from controller.serving.client_request import ClientRequest, RequestStreamSpec
from controller.serving.instance import Decide, ServingInstance
from controller.serving.iteration import Iteration
from controller.serving.iteration_times import IterationLoad
from controller.serving.kv_pool import KvPool
from controller.serving.loop import ServingLoop
from controller.serving.state import InstanceState, ServerLimits


class ToyTimes:
    """A millisecond an iteration, some microseconds a token."""

    def iteration_s(self, load: IterationLoad) -> float:
        return 1e-3 + 1e-5 * load.tokens + 1e-7 * load.context_tokens + 1e-5 * load.swapped_blocks

    def decode_steps_s(self, rows: int, context_tokens: int, count: int) -> list[float]:
        return [self.iteration_s(IterationLoad(rows, context_tokens + step * rows)) for step in range(count)]


@dataclass(frozen=True)
class ServingToy:
    """One case.

    Attributes:
        name: for messages.
        stream: of requests.
        blocks: of the pool.
    """

    name: str
    stream: RequestStreamSpec
    blocks: int


def serving_toys() -> tuple[ServingToy, ...]:
    """Cases that schedulers get wrong: bursts, one-token answers, a pool for one request, shared prefixes."""
    draw = np.random.Generator(np.random.PCG64(7))
    sizes = [(int(a), int(b)) for a, b in draw.integers(1, (200, 80), (60, 2))]
    arrive = np.cumsum(draw.exponential(4e-3, 60)).tolist()
    drawn = _requests(sizes, arrive)
    most = max(request.total_tokens for request in drawn)
    prefixed = [
        replace(request, prefix=tuple(100 * (number % 3) + part for part in range(request.prompt_tokens // 16)))
        for number, request in enumerate(drawn)
    ]
    ranked = [replace(request, priority=request.number % 3, session=request.number % 4) for request in drawn]
    return (
        ServingToy("room for all", RequestStreamSpec(drawn, "drawn"), 2000),
        ServingToy("all at once", RequestStreamSpec(_requests(sizes, [0.0] * 60), "burst"), 60),
        ServingToy("room for one", RequestStreamSpec(drawn, "drawn"), -(-most // 16) + 1),
        ServingToy("one token each", RequestStreamSpec(_requests([(5, 1)] * 20, arrive), "short"), 30),
        ServingToy("closed loop", RequestStreamSpec(drawn, "users", users=5), 50),
        ServingToy("shared prefixes", RequestStreamSpec(prefixed, "prefixes"), 80),
        ServingToy("priorities", RequestStreamSpec(ranked, "ranked"), 50),
    )


def _requests(sizes: Sequence[tuple[int, int]], arrive: Sequence[float]) -> list[ClientRequest]:
    return [
        ClientRequest(number, at, prompt, output)
        for number, ((prompt, output), at) in enumerate(zip(sizes, arrive, strict=False))
    ]


def run_toy(toy: ServingToy, decide: Decide, limits: ServerLimits, *, steady: bool = True) -> ServingLoop:
    """The case to its end; every step is decided anew where `steady` is not set."""

    def every_step(state: InstanceState, now: float) -> Iteration:
        return replace(decide(state, now), steady=False)

    state = InstanceState(0, KvPool(toy.blocks), limits)
    loop = ServingLoop([ServingInstance(state, ToyTimes(), decide if steady else every_step)], toy.stream)
    loop.run()
    return loop
