"""Several instances in one loop: a cluster policy decides, and this carries it out.

A request that moves is copied in stages while it runs on (Llumnix, section 4.2): stage 0 copies what is cached, each
further one what was added meanwhile; the last one, of a block at most, suspends it, and it goes on at its destination.
Room there is taken before every stage; where it lacks, or where the request has ended or left meanwhile, the migration
ends and nothing has changed. Where prompts and decodes have instances of their own, the cache of a finished prompt
waits on its instance until the decode instance has room, and is then pulled.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from controller.serving.cluster_state import BOTH, DECODE, PREFILL, ClusterState
from controller.serving.clusters.table import ClusterEntry
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


class ServingCluster:
    """Implements `Dispatcher` with a policy.

    Attributes:
        state: what the policy sees.
        mover: of KV caches.
        migrations, aborted: that came to their end, and that did not.
        moved_tokens: over all copies.
        on_s, downtimes_s: time that instances were on, over all, and that migrations suspended requests for [s].
    """

    def __init__(
        self, entry: ClusterEntry, instances: Sequence[ServingInstance], mover: KvMover,
        roles: Sequence[str] = (), options: Mapping[str, float] | None = None, started: int | None = None,
    ) -> None:  # fmt: skip
        """A cluster at rest.

        Args:
            entry: the policy.
            instances: all there can be.
            mover: of KV caches.
            roles: of the instances; empty for both prompts and decodes everywhere.
            options: of the policy, in place of its own.
            started: instances that are on at first; None for all.
        """
        self.entry, self.mover = entry, mover
        self.instances = list(instances)
        chosen = list(roles) or [BOTH] * len(instances)
        on = [number < (len(instances) if started is None else started) for number in range(len(instances))]
        known = {**entry.options, **(options or {})}
        self.state = ClusterState([each.state for each in instances], chosen, on, options=known)
        for instance, role in zip(instances, chosen, strict=True):
            instance.progress.hands_over = role == PREFILL
        self._route, self._pull_to = entry.function("route"), entry.function("pull_to")
        self._rebalance = entry.function("rebalance") if not entry.scales or entry.period_s else None
        self._scale = entry.function("scale") if entry.scales else None
        self.period_s = known.get("period", entry.period_s)
        self._next_check = self.period_s if self.period_s and (self._rebalance or self._scale) else float("inf")
        self._moving: dict[int, _Moving] = {}
        self._copies: dict[int, _Moving] = {}
        self._copy_count = 0
        self._pulls: deque[_Moving] = deque()
        self.migrations = self.aborted = self.moved_tokens = 0
        self.on_s, self._on_since = 0.0, [0.0 if each else -1.0 for each in on]
        self.downtimes_s: list[float] = []
        self._loop: ServingLoop

    # -- what the loop calls -------------------------------------------------------------------------------------------

    def arrive(self, loop: ServingLoop, state: RequestState, now: float) -> None:
        """Routes a request."""
        self._loop = loop
        self._sync(now)
        if self._next_check == float("inf") and self.period_s and (self._rebalance or self._scale):
            self._next_check = now + self.period_s  # nobody was there to look after
        number = self._route(self.state, state.request)
        self.state.routed += 1
        loop.admit(self.instances[number], state, now)

    def ended(self, loop: ServingLoop, instance: ServingInstance, ended: Sequence[RequestState], now: float) -> None:
        """Starts pulls of finished prompts, and suspends who waits for the end of an iteration to leave."""
        for request in instance.progress.handed_over:
            self._pulls.append(_Moving(request, instance, instance, pulled=True))
        instance.progress.handed_over.clear()
        for moving in list(self._moving.values()):
            if moving.wants_to_leave and moving.source is instance:
                self._suspend(moving, now)
        if self._pulls:
            self._pull(now)
        if self._pulls or instance.state.draining:
            self._switch_off(instance, now)

    def takes_requests(self, loop: ServingLoop) -> bool:
        """Whether prompts, and decodes where they are apart, have an instance."""
        state = self.state
        return bool(state.open_numbers()) and (DECODE not in state.roles or bool(state.open_numbers(DECODE)))

    def next_at(self, limit: float) -> float:
        """The next end of a copy or check of the policy, if not after `limit` [s]."""
        return min(self._next_check, self.mover.next_at(min(limit, self._next_check)))

    def act(self, loop: ServingLoop, now: float) -> None:
        """Ends copies, and asks the policy."""
        for number in self.mover.ended(now):
            moving = self._copies.pop(number)
            if not moving.is_over:
                self._copied(loop, moving, now)
        if now >= self._next_check:
            self._next_check = now + self.period_s
            self._check(loop, now)

    # -- the policy ----------------------------------------------------------------------------------------------------

    def _sync(self, now: float) -> None:
        for instance in self.instances:
            instance.sync(now)

    def _check(self, loop: ServingLoop, now: float) -> None:
        self._sync(now)
        if not any(each.iteration is not None or each.state.waiting for each in self.instances):
            if loop.all_arrived:
                self._next_check = float("inf")
            return
        if self._rebalance is not None:
            for move in self._rebalance(self.state, now):
                source, to = self.instances[move.source], self.instances[move.destination]
                request = source.state.decoding.get(move.request)
                if request is not None and move.request not in self._moving:
                    self._begin(_Moving(request, source, to), now)
        if self._scale is not None:
            self._resize(self._scale(self.state, now), now)

    def _resize(self, change: int, now: float) -> None:
        state = self.state
        if change > 0:
            draining = [number for number, each in enumerate(state.instances) if state.on[number] and each.draining]
            off = [number for number, is_on in enumerate(state.on) if not is_on and number not in state.down]
            if draining:
                state.instances[draining[0]].draining = False
            elif off:
                state.on[off[0]] = True
                self._on_since[off[0]] = now
        elif change < 0:
            running = [
                (each.running_count + len(each.waiting), number)
                for number, each in enumerate(state.instances)
                if state.runs(number) and not each.draining
            ]
            if len(running) > 1:
                number = min(running)[1]
                state.instances[number].draining = True
                self._switch_off(self.instances[number], now)

    def _switch_off(self, instance: ServingInstance, now: float) -> None:
        state, number = instance.state, instance.state.number
        if state.draining and self.state.on[number] and not (state.running_count or state.waiting or state.swapped):
            self.on_s += now - self._on_since[number]
            self.state.on[number], state.draining = False, False

    def close(self, now: float) -> None:
        """Counts the time of the instances that are still on."""
        for number, is_on in enumerate(self.state.on):
            if is_on:
                self.on_s += now - self._on_since[number]

    def details(self) -> dict[str, Any]:
        """Figures of a policy of its own kind, for ``--json``."""
        return {}

    # -- failures ------------------------------------------------------------------------------------------------------

    def lose(self, number: int) -> list[RequestState]:
        """Forgets what was on its way from or to an instance that fails; requests that were nowhere else."""
        self.state.down.add(number)
        gone: list[RequestState] = []
        for moving in list(self._moving.values()):
            source, to = moving.source.state.number, moving.destination.state.number
            if number not in (source, to):
                continue
            moving.is_over = True
            self._moving.pop(moving.request.request.number, None)
            self.state.moving.pop(moving.request.request.number, None)
            self.aborted += 1
            if to != number:
                moving.destination.state.pool.give(moving.held_blocks)
            if moving.suspended:
                gone.append(moving.request)
            elif moving.pulled and source != number:
                self._pulls.appendleft(_Moving(moving.request, moving.source, moving.source, pulled=True))
        self._pulls = deque(moving for moving in self._pulls if moving.source.state.number != number)
        return gone

    def regain(self, number: int, now: float) -> None:
        """An instance is back, empty."""
        self.state.down.discard(number)
        self._pull(now)

    def give_up_pulls(self) -> list[RequestState]:
        """Finished prompts that nobody will decode; their blocks are free again."""
        found = [moving.request for moving in self._pulls]
        for moving in self._pulls:
            moving.source.progress.let_go(moving.request)
        self._pulls.clear()
        return found

    # -- migrations ----------------------------------------------------------------------------------------------------

    def _begin(self, moving: _Moving, now: float) -> None:
        self._moving[moving.request.request.number] = moving
        self.state.moving[moving.request.request.number] = moving.destination.state.number
        self._stage(moving, now)

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
            self._loop.wake(moving.destination, self._loop.now)  # a run of steps counted on these blocks
        return True

    def _copy(self, moving: _Moving, tokens: int, now: float) -> None:
        self._copy_count += 1
        self.moved_tokens += tokens
        self._copies[self._copy_count] = moving
        source, to = moving.source.state.number, moving.destination.state.number
        copy = KvCopy(self._copy_count, source, to, tokens, moving.request.request.number, moving.copied_tokens)
        self.mover.start(copy, now)

    def _copied(self, loop: ServingLoop, moving: _Moving, now: float) -> None:
        """A copy has ended: the next stage, the suspension, or the end."""
        self._sync(now)
        request = moving.request
        if moving.pulled or moving.suspended:
            self._arrive_there(loop, moving, now)
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
            loop.wake(moving.source, now)

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

    def _arrive_there(self, loop: ServingLoop, moving: _Moving, now: float) -> None:
        request, to = moving.request, moving.destination
        number = request.request.number
        self._moving.pop(number, None)
        self.state.moving.pop(number, None)
        if moving.pulled:
            moving.source.progress.let_go(request)
            loop.wake(moving.source, now)
            self._pull(now)
        else:
            request.migrations += 1
            request.downtime_s += now - moving.left_at
            self.downtimes_s.append(now - moving.left_at)
        self.migrations += 1
        to.state.pool.give(moving.held_blocks)
        request.reserved_blocks = 0
        to.state.pool.take(to.state.blocks_for(request.computed))
        to.joining.append(request)
        loop.wake(to, now)

    def _abort(self, moving: _Moving) -> None:
        number = moving.request.request.number
        self.aborted += 1
        moving.destination.state.pool.give(moving.held_blocks)
        self._moving.pop(number, None)
        self.state.moving.pop(number, None)

    # -- pulls ---------------------------------------------------------------------------------------------------------

    def _pull(self, now: float) -> None:
        """Lets decode instances pull finished prompts, first come first, as far as they have room."""
        while self._pulls and self.state.open_numbers(DECODE):
            moving = self._pulls[0]
            self._sync(now)
            to = self.instances[self._pull_to(self.state, moving.request.request)]
            moving.destination = to
            own = len(to.state.decoding) + sum(1 for each in self.state.moving.values() if each == to.state.number)
            if own >= to.state.limits.max_requests or not self._hold(moving, moving.request.computed):
                return
            self._pulls.popleft()
            self._moving[moving.request.request.number] = moving
            self.state.moving[moving.request.request.number] = to.state.number
            self._copy(moving, moving.request.computed, now)


__all__ = ["DECODE", "ServingCluster"]
