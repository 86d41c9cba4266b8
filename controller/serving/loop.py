"""The loop on the virtual clock: requests arrive, instances run iterations, requests end.

Events are arrivals and ends of iterations, in the order of (time, sequence). Where the time of an iteration comes from
is the business of `IterationTimes`; which instance a request goes to, and who moves between instances, that of a
`ClusterPolicy`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from heapq import heappop, heappush
from typing import Protocol

from controller.errors import DeviceUnreachable, RunError
from controller.serving.client_request import ClientRequest, RequestStreamSpec
from controller.serving.instance import ServingInstance
from controller.serving.state import ENDED, WAITING, RequestState

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

    def takes_requests(self, loop: ServingLoop) -> bool:
        """Whether a request that comes now has somewhere to go."""


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

    def takes_requests(self, loop: ServingLoop) -> bool:
        return not loop.instances[0].is_down


class InstanceLosses(Protocol):
    """Who takes over when an instance is gone."""

    def down(self, loop: ServingLoop, instance: ServingInstance, now: float) -> None:
        """Takes an instance away with everything that it held."""


class ServingLoop:
    """Runs a stream of requests to its end.

    Attributes:
        instances: that serve.
        states: every request that has arrived, in the order of arrival.
        now: virtual time [s].
        progress: told how many requests of how many have ended.
        outages: told of an instance one of whose nodes has died; None to end with an error.
        is_idle: the last `advance_once` found nothing to do.
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
        self._ready = min(stream.users, len(stream.requests)) if stream.users else len(stream.requests)
        self._leaving: dict[int, tuple[RequestState, str]] = {}
        self.is_idle = True
        self.outages: InstanceLosses | None = None

    def run(self) -> None:
        """Until every request of the stream has ended.

        Raises:
            NothingRuns: requests wait and no instance will ever run them.
            RunError: a scheduler decided what cannot be.
        """
        total = len(self._stream.requests)
        while self._ended < total:
            if not self._step(float("inf")):
                self._refuse_to_wait()

    def advance(self, until: float) -> None:
        """Lets everything happen until an instant, whoever has come by `add` included.

        Args:
            until: that instant [s].
        """
        while self._step(until):
            pass
        self.now = max(self.now, until)

    def advance_once(self) -> bool:
        """Lets what happens next happen; whether anything did."""
        self.is_idle = not self._step(float("inf"))
        return not self.is_idle

    def next_token_at(self) -> float:
        """The next instant at which a token comes or something else happens; infinite for none [s]."""
        first = self._events[0][0] if self._events else float("inf")
        for instance in self.instances:
            if instance.ends_at:
                first = min(first, next((at for at in instance.ends_at if at > self.now), first))
        return min(first, self._dispatcher.next_at(first))

    def _step(self, until: float) -> bool:
        """The next event, if it comes until then; whether it did."""
        requests, dispatcher, users, events = self._stream.requests, self._dispatcher, self._stream.users, self._events
        arrival_at = float("inf")
        if self._arrived < self._ready:
            arrival_at = self.now if users else requests[self._arrived].arrival_at
        event_at = events[0][0] if events else float("inf")
        own_at = dispatcher.next_at(min(arrival_at, event_at, until))
        if min(arrival_at, event_at, own_at) > until:
            return False
        if arrival_at <= event_at and arrival_at <= own_at and arrival_at != float("inf"):
            self.now = max(self.now, arrival_at)
            self._arrive(requests[self._arrived])
            return True
        if own_at < event_at:
            self.now = max(self.now, own_at)
            dispatcher.act(self, self.now)
            return True
        if not events:
            return own_at != float("inf")
        at, _, number, version = heappop(events)
        instance = self.instances[number]
        if version != instance.version or instance.iteration is None:
            return True
        self.now = at
        ended = instance.end()
        self._ended += len(ended)
        if users:
            self._ready = min(len(requests), self._ready + len(ended))
        if self.progress is not None and ended:
            self.progress(self._ended, len(requests))
        if self._leaving:
            self._let_leave(instance)
        dispatcher.ended(self, instance, ended, at)
        # Those who arrive at this very instant are seen by the decision.
        while self._arrived < self._ready and (users or requests[self._arrived].arrival_at <= at):
            self._arrive(requests[self._arrived])
        self.start(instance)
        for lane in instance.lanes:
            if lane.iteration is None and lane is not instance:
                self.start(lane)
        return True

    # -- requests that come and go while the loop runs -----------------------------------------------------------------

    def add(self, request: ClientRequest) -> RequestState:
        """Lets a request arrive now that is not of the stream."""
        self._arrive(request)
        return self.states[-1]

    def leave(self, state: RequestState, outcome: str) -> None:
        """Ends a request with `outcome` as soon as no iteration needs it any more."""
        if state.stage == ENDED:
            return
        self._leaving[state.request.number] = state, outcome
        instance = self.instances[state.instance]
        if instance.iteration is None or state.stage == WAITING:
            self._let_leave(instance)
            self.start(instance)
        else:
            self.wake(instance, self.now)

    def _let_leave(self, instance: ServingInstance) -> None:
        for number, (state, outcome) in list(self._leaving.items()):
            if state.stage == ENDED:
                del self._leaving[number]
                continue
            is_here = state.instance == instance.state.number or state in instance.state.waiting
            if is_here and instance.let_go(state, self.now):
                self.close(state, outcome, self.now)
                del self._leaving[number]

    def generated(self, state: RequestState) -> int:
        """Tokens that the client of a request has by now."""
        instance = self.instances[state.instance]
        instance.sync(self.now)
        return instance.state.generated_by(state)

    def forget_ended(self) -> None:
        """Drops what is kept of requests that have ended, as a server that runs on must."""
        self.states = [state for state in self.states if state.stage != ENDED]
        for instance in self.instances:
            instance.samples.clear()

    @property
    def takes_requests(self) -> bool:
        """Whether some instance takes a request that comes now."""
        return self._dispatcher.takes_requests(self)

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
        return self._arrived >= len(self._stream.requests)

    def admit(self, instance: ServingInstance, state: RequestState, now: float) -> None:
        """Puts a request into the queue of an instance, which goes on at once if it was idle."""
        if instance.is_down:  # it failed while the request was on its way
            self._dispatcher.arrive(self, state, now)
            return
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
        if instance.iteration is None and not instance.is_down:
            try:
                end_at = instance.start(self.now)
            except DeviceUnreachable:
                if self.outages is None:
                    raise
                self.outages.down(self, instance, self.now)
                return
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
