"""Requests whose prompts have been computed elsewhere: a decode instance alone, as placements are searched."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from controller.serving.instance import ServingInstance
from controller.serving.loop import ServingLoop
from controller.serving.state import RequestState


class ReadyPrompts:
    """Implements `Dispatcher`: a request decodes as soon as there is room for its cache, without any time for it."""

    def __init__(self) -> None:
        self._queue: deque[RequestState] = deque()

    def arrive(self, loop: ServingLoop, state: RequestState, now: float) -> None:
        """Gives the request its first token, and room as soon as there is some."""
        state.computed, state.generated, state.first_at = state.prompt_tokens, 1, now
        state.prefill_ends.append(now)
        if state.request.output_tokens == 1:
            loop.close(state, "ok", now)
            return
        self._queue.append(state)
        self._enter(loop, now)

    def ended(self, loop: ServingLoop, instance: ServingInstance, ended: Sequence[RequestState], now: float) -> None:
        """Lets in who has room now."""
        self._enter(loop, now)

    def next_at(self, limit: float) -> float:
        return float("inf")

    def act(self, loop: ServingLoop, now: float) -> None:
        """Never called."""

    def _enter(self, loop: ServingLoop, now: float) -> None:
        instance = loop.instances[0]
        instance.sync(now)
        state = instance.state
        while self._queue:
            need = state.blocks_for(self._queue[0].computed + 1)
            running = state.running_count + len(instance.joining)
            if need > state.free_blocks - state.growth_blocks or running >= state.limits.max_requests:
                return
            request = self._queue.popleft()
            state.pool.take(state.blocks_for(request.computed))
            instance.joining.append(request)
            loop.wake(instance, now)

    def takes_requests(self, loop: ServingLoop) -> bool:
        return True
