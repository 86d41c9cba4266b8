"""Caches on their way from one instance to another: live migrations, and pulls of finished prompts.

A request that moves is copied in stages while it runs on (Llumnix, section 4.2): stage 0 copies what is cached, each
further one what was added meanwhile; the last one, of a block at most, suspends it, and it goes on at its destination.
Room there is taken before every stage; where it lacks, or where the request has ended or left meanwhile, the migration
ends and nothing has changed. Where prompts and decodes have instances of their own, the cache of a finished prompt
waits on its instance until the decode instance has room, and is then pulled.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from controller.serving.client_request import ClientRequest
from controller.serving.cluster_state import DECODE, ClusterState
from controller.serving.instance import ServingInstance
from controller.serving.kv_movers import KvCopy, KvMover
from controller.serving.loop import ServingLoop
from controller.serving.state import DECODING, MOVING, RequestState


@dataclass(eq=False, slots=True)
class _Moving:
    """A request on its way.

    Attributes:
        request: that moves.
        source, destination: instances.
        copied_tokens: that are there.
        held_blocks: taken at the destination.
        suspended: it has left its source, and runs on when this copy has ended.
        is_over: one of its instances has failed meanwhile.
        pulled: a finished prompt, whose source keeps its blocks until the copy has ended.
    """

    request: RequestState
    source: ServingInstance
    destination: ServingInstance
    copied_tokens: int = 0
    held_blocks: int = 0
    suspended: bool = False
    pulled: bool = False
    is_over: bool = False
    wants_to_leave: bool = False
    left_at: float = 0.0


class KvMoves:
    """All copies of a cluster.

    Attributes:
        loop: whose instances they wake; set once requests arrive.
        migrations, aborted: that came to their end, and that did not.
        moved_tokens: over all copies.
        downtimes_s: that migrations suspended requests for [s].
    """

    loop: ServingLoop

    def __init__(
        self, state: ClusterState, instances: Sequence[ServingInstance], mover: KvMover,
        pull_to: Callable[[ClusterState, ClientRequest], int] | None, sync: Callable[[float], None],
    ) -> None:  # fmt: skip
        """Nothing on its way.

        Args:
            state: what the policy sees; `moving` is kept here.
            instances: by number.
            mover: carries the copies out.
            pull_to: the policy's choice of who decodes a finished prompt; None where nobody pulls.
            sync: brings the instances to an instant.
        """
        self.state, self.instances, self.mover = state, instances, mover
        self._pull_to, self._sync = pull_to, sync
        self._moving: dict[int, _Moving] = {}
        self._copies: dict[int, _Moving] = {}
        self._copy_count = 0
        self._pulls: deque[_Moving] = deque()
        self.migrations = self.aborted = self.moved_tokens = 0
        self.downtimes_s: list[float] = []

    # -- what the cluster calls ----------------------------------------------------------------------------------------

    @property
    def awaits_pulls(self) -> bool:
        """Whether finished prompts wait to be pulled."""
        return bool(self._pulls)

    def migrate(self, request: RequestState, source: ServingInstance, to: ServingInstance, now: float) -> None:
        """Begins the migration of a request, unless one is under way."""
        if request.request.number in self._moving:
            return
        moving = _Moving(request, source, to)
        self._note(moving)
        self._stage(moving, now)

    def iteration_ended(self, instance: ServingInstance, now: float) -> None:
        """Suspends who waited for it, and starts pulls of prompts that it finished."""
        for request in instance.progress.handed_over:
            self._pulls.append(_Moving(request, instance, instance, pulled=True))
        instance.progress.handed_over.clear()
        for moving in list(self._moving.values()):
            if moving.wants_to_leave and moving.source is instance:
                self._suspend(moving, now)
        if self._pulls:
            self.pull(now)

    def act(self, now: float) -> None:
        """Ends the copies of this instant."""
        for number in self.mover.ended(now):
            moving = self._copies.pop(number)
            if not moving.is_over:
                self._copied(moving, now)

    # -- failures ------------------------------------------------------------------------------------------------------

    def lose(self, number: int) -> list[RequestState]:
        """Forgets what was on its way from or to an instance that fails; requests that were nowhere else."""
        gone: list[RequestState] = []
        for moving in list(self._moving.values()):
            source, to = moving.source.state.number, moving.destination.state.number
            if number not in (source, to):
                continue
            moving.is_over = True
            self._forget(moving)
            self.aborted += 1
            if to != number:
                moving.destination.state.pool.give(moving.held_blocks)
            if moving.suspended:
                gone.append(moving.request)
            elif moving.pulled and source != number:
                self._pulls.appendleft(_Moving(moving.request, moving.source, moving.source, pulled=True))
        self._pulls = deque(moving for moving in self._pulls if moving.source.state.number != number)
        return gone

    def give_up_pulls(self) -> list[RequestState]:
        """Finished prompts that nobody will decode; their blocks are free again."""
        found = [moving.request for moving in self._pulls]
        for moving in self._pulls:
            moving.source.progress.let_go(moving.request)
        self._pulls.clear()
        return found

    # -- migrations ----------------------------------------------------------------------------------------------------

    def _note(self, moving: _Moving) -> None:
        number = moving.request.request.number
        self._moving[number] = moving
        self.state.moving[number] = moving.destination.state.number

    def _forget(self, moving: _Moving) -> None:
        self._moving.pop(moving.request.request.number, None)
        self.state.moving.pop(moving.request.request.number, None)

    def _stage(self, moving: _Moving, now: float) -> None:
        """Takes room for the next stage and copies it."""
        context = moving.source.state.context_of(moving.request)
        if not self._hold(moving, context):
            self._abort(moving)
            return
        self._copy(moving, context - moving.copied_tokens, now)
        moving.copied_tokens = context

    def _hold(self, moving: _Moving, tokens: int) -> bool:
        pool = moving.destination.state.pool
        need = moving.destination.state.blocks_for(tokens + 1) - moving.held_blocks
        if need > pool.available_blocks:
            return False
        if need > 0:
            pool.take(need)
            moving.held_blocks += need
            self.loop.wake(moving.destination, self.loop.now)  # a run of steps counted on these blocks
        return True

    def _copy(self, moving: _Moving, tokens: int, now: float) -> None:
        self._copy_count += 1
        self.moved_tokens += tokens
        self._copies[self._copy_count] = moving
        source, to = moving.source.state.number, moving.destination.state.number
        copy = KvCopy(self._copy_count, source, to, tokens, moving.request.request.number, moving.copied_tokens)
        self.mover.start(copy, now)

    def _copied(self, moving: _Moving, now: float) -> None:
        """A copy has ended: the next stage, the suspension, or the end."""
        self._sync(now)
        request = moving.request
        if moving.pulled or moving.suspended:
            self._arrive_there(moving, now)
            return
        if request.stage != DECODING or request.request.number not in moving.source.state.decoding:
            self._abort(moving)
            return
        added = moving.source.state.context_of(request) - moving.copied_tokens
        if added > moving.source.state.pool.block_tokens:
            self._stage(moving, now)
            return
        moving.wants_to_leave = True
        if moving.source.iteration is None:
            self._suspend(moving, now)
        else:
            self.loop.wake(moving.source, now)

    def _suspend(self, moving: _Moving, now: float) -> None:
        moving.wants_to_leave = False
        request, source = moving.request, moving.source
        if request.stage != DECODING or request.request.number not in source.state.decoding:
            self._abort(moving)
            return
        if not self._hold(moving, source.state.context_of(request)):
            self._abort(moving)
            return
        source.progress.leave_decoding(request)
        request.stage, moving.suspended, moving.left_at = MOVING, True, now
        self._copy(moving, max(1, request.computed - moving.copied_tokens), now)

    def _arrive_there(self, moving: _Moving, now: float) -> None:
        request, to = moving.request, moving.destination
        self._forget(moving)
        if moving.pulled:
            moving.source.progress.let_go(request)
            self.loop.wake(moving.source, now)
            self.pull(now)
        else:
            request.migrations += 1
            request.downtime_s += now - moving.left_at
            self.downtimes_s.append(now - moving.left_at)
        self.migrations += 1
        to.state.pool.give(moving.held_blocks)
        request.reserved_blocks = 0
        to.state.pool.take(to.state.blocks_for(request.computed))
        to.joining.append(request)
        self.loop.wake(to, now)

    def _abort(self, moving: _Moving) -> None:
        self.aborted += 1
        moving.destination.state.pool.give(moving.held_blocks)
        self._forget(moving)

    # -- pulls ---------------------------------------------------------------------------------------------------------

    def pull(self, now: float) -> None:
        """Lets decode instances pull finished prompts, first come first, as far as they have room."""
        while self._pulls and self._pull_to is not None and self.state.open_numbers(DECODE):
            moving = self._pulls[0]
            self._sync(now)
            to = self.instances[self._pull_to(self.state, moving.request.request)]
            moving.destination = to
            own = len(to.state.decoding) + sum(1 for each in self.state.moving.values() if each == to.state.number)
            if own >= to.state.limits.max_requests or not self._hold(moving, moving.request.computed):
                return
            self._pulls.popleft()
            self._note(moving)
            self._copy(moving, moving.request.computed, now)
