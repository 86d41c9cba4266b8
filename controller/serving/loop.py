"""The loop on the virtual clock: requests arrive, instances run iterations, requests end.

Events are arrivals and ends of iterations, in the order of (time, sequence). Where the time of an iteration comes from
is the business of `IterationTimes`; which instance a request goes to, and who moves between instances, that of a
`ClusterPolicy`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from heapq import heappop, heappush
from typing import Protocol

from controller.errors import RunError
from controller.serving.client_request import ClientRequest, RequestStreamSpec
from controller.serving.instance import ServingInstance
from controller.serving.state import ENDED, RequestState

ProgressReport = Callable[[int, int], None]


class NothingRuns(RunError):
    """A scheduler that lets requests wait for ever."""


class Dispatcher(Protocol):
    """What a cluster adds to the loop: where requests go, and what happens beside iterations."""

    def arrive(self, loop: ServingLoop, state: RequestState, now: float) -> None:
        """Gives a request to an instance, by `ServingLoop.admit`."""

    def ended(self, loop: ServingLoop, instance: ServingInstance, ended: Sequence[RequestState], now: float) -> None:
        """Called at the end of every iteration, before the next one of that instance is decided."""

    def next_at(self, limit: float) -> float:
        """The next instant at which something of its own happens, if that is not after `limit`; else infinite [s]."""

    def act(self, loop: ServingLoop, now: float) -> None:
        """Called at that instant."""


class OneInstance:
    """Everything goes to the first instance."""

    def arrive(self, loop: ServingLoop, state: RequestState, now: float) -> None:
        loop.admit(loop.instances[0], state, now)

    def ended(self, loop: ServingLoop, instance: ServingInstance, ended: Sequence[RequestState], now: float) -> None:
        """Nothing happens beside iterations."""

    def next_at(self, limit: float) -> float:
        return float("inf")

    def act(self, loop: ServingLoop, now: float) -> None:
        """Never called."""


class ServingLoop:
    """Runs a stream of requests to its end.

    Attributes:
        instances: that serve.
        states: every request that has arrived, in the order of arrival.
        now: virtual time [s].
        progress: told how many requests of how many have ended.
    """

    def __init__(
        self,
        instances: Sequence[ServingInstance],
        stream: RequestStreamSpec,
        dispatcher: Dispatcher | None = None,
        progress: ProgressReport | None = None,
    ) -> None:
        self.instances = list(instances)
        self.states: list[RequestState] = []
        self.now = 0.0
        self._stream, self._dispatcher = stream, dispatcher or OneInstance()
        self.progress = progress
        self._events: list[tuple[float, int, int, int]] = []
        self._sequence = self._arrived = self._ended = 0

    def run(self) -> None:
        """Until every request has ended.

        Raises:
            NothingRuns: requests wait and no instance will ever run them.
            RunError: a scheduler decided what cannot be.
        """
        requests, dispatcher = self._stream.requests, self._dispatcher
        total = len(requests)
        users = self._stream.users
        ready = min(users, total) if users else total
        events = self._events
        while self._ended < total:
            arrival_at = float("inf")
            if self._arrived < ready:
                arrival_at = self.now if users else requests[self._arrived].arrival_at
            event_at = events[0][0] if events else float("inf")
            own_at = dispatcher.next_at(min(arrival_at, event_at))
            if arrival_at <= event_at and arrival_at <= own_at and arrival_at != float("inf"):
                self.now = max(self.now, arrival_at)
                self._arrive(requests[self._arrived])
                continue
            if own_at < event_at:
                self.now = max(self.now, own_at)
                dispatcher.act(self, self.now)
                continue
            if not events:
                if own_at != float("inf"):
                    continue
                self._refuse_to_wait()
            at, _, number, version = heappop(events)
            instance = self.instances[number]
            if version != instance.version or instance.iteration is None:
                continue
            self.now = at
            ended = instance.end()
            self._ended += len(ended)
            if users:
                ready = min(total, ready + len(ended))
            if self.progress is not None and ended:
                self.progress(self._ended, total)
            dispatcher.ended(self, instance, ended, at)
            # Those who arrive at this very instant are seen by the decision.
            while self._arrived < ready and (users or requests[self._arrived].arrival_at <= at):
                self._arrive(requests[self._arrived])
            self.start(instance)
            for lane in instance.lanes:
                if lane.iteration is None and lane is not instance:
                    self.start(lane)

    def _arrive(self, request: ClientRequest) -> None:
        self._arrived += 1
        if self._stream.users:
            request = _arriving(request, self.now)
        state = RequestState(request)
        self.states.append(state)
        self._dispatcher.arrive(self, state, self.now)

    @property
    def all_arrived(self) -> bool:
        """Whether no request is still to come."""
        return self._arrived == len(self._stream.requests)

    def admit(self, instance: ServingInstance, state: RequestState, now: float) -> None:
        """Puts a request into the queue of an instance, which goes on at once if it was idle."""
        state.instance = instance.state.number
        instance.state.waiting.append(state)
        for lane in instance.lanes:
            if not instance.state.waiting:
                break
            self.wake(lane, now)

    def wake(self, instance: ServingInstance, now: float) -> None:
        """Lets an instance decide as soon as it can, as what it sees has changed."""
        if instance.iteration is None:
            self.start(instance)
            return
        end_at = instance.interrupt(now)
        if end_at is not None:
            self._push(end_at, instance)

    def start(self, instance: ServingInstance) -> None:
        """Begins the next iteration of an instance that has none."""
        if instance.iteration is None:
            end_at = instance.start(self.now)
            if end_at is not None:
                self._push(end_at, instance)

    def close(self, state: RequestState, outcome: str, now: float) -> None:
        """Ends a request with an error."""
        state.stage, state.outcome, state.end_at = ENDED, outcome, now
        self._ended += 1

    def _push(self, at: float, instance: ServingInstance) -> None:
        self._sequence += 1
        heappush(self._events, (at, self._sequence, instance.state.number, instance.version))

    def _refuse_to_wait(self) -> None:
        waiting = [state.request.number for state in self.states if state.stage != ENDED]
        raise NothingRuns(
            f"{len(waiting)} requests have not ended and no instance runs any of them (the first is request "
            f"{waiting[0]}): the scheduler decides `Iteration()` although requests wait; let it admit or preempt"
        )


def _arriving(request: ClientRequest, now: float) -> ClientRequest:
    """A request of a closed loop, sent now."""
    return ClientRequest(
        request.number, now, request.prompt_tokens, request.output_tokens, request.kind, request.priority,
        request.session, request.prefix, request.prefix_block_tokens,
    )  # fmt: skip
