"""Several instances in one loop: a cluster policy decides, and this carries it out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from controller.serving.cluster_state import BOTH, DECODE, PREFILL, ClusterState
from controller.serving.clusters.table import ClusterEntry
from controller.serving.instance import ServingInstance
from controller.serving.kv_movers import KvMover
from controller.serving.loop import ServingLoop
from controller.serving.migrations import KvMoves
from controller.serving.state import RequestState


class ServingCluster:
    """Implements `Dispatcher` with a policy.

    Attributes:
        state: what the policy sees.
        moves: of KV caches under way, who carries them out, and what they came to.
        on_s: time that instances were on, over all [s].
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
        self.entry = entry
        self.instances = list(instances)
        chosen = list(roles) or [BOTH] * len(instances)
        on = [number < (len(instances) if started is None else started) for number in range(len(instances))]
        known = {**entry.options, **(options or {})}
        self.state = ClusterState([each.state for each in instances], chosen, on, options=known)
        for instance, role in zip(instances, chosen, strict=True):
            instance.progress.hands_over = role == PREFILL
        self._route = entry.function("route")
        self.moves = KvMoves(self.state, self.instances, mover, entry.function("pull_to"), self._sync)
        self._rebalance = entry.function("rebalance") if not entry.scales or entry.period_s else None
        self._scale = entry.function("scale") if entry.scales else None
        self.period_s = known.get("period", entry.period_s)
        self._next_check = self.period_s if self.period_s and (self._rebalance or self._scale) else float("inf")
        self.on_s, self._on_since = 0.0, [0.0 if each else -1.0 for each in on]

    # -- what the loop calls -------------------------------------------------------------------------------------------

    def arrive(self, loop: ServingLoop, state: RequestState, now: float) -> None:
        """Routes a request."""
        self.moves.loop = loop
        self._sync(now)
        if self._next_check == float("inf") and self.period_s and (self._rebalance or self._scale):
            self._next_check = now + self.period_s  # nobody was there to look after
        number = self._route(self.state, state.request)
        self.state.routed += 1
        loop.admit(self.instances[number], state, now)

    def ended(self, loop: ServingLoop, instance: ServingInstance, ended: Sequence[RequestState], now: float) -> None:
        """Starts pulls of finished prompts, and suspends who waits for the end of an iteration to leave."""
        self.moves.iteration_ended(instance, now)
        if self.moves.awaits_pulls or instance.state.draining:
            self._switch_off(instance, now)

    def takes_requests(self, loop: ServingLoop) -> bool:
        """Whether prompts, and decodes where they are apart, have an instance."""
        state = self.state
        return bool(state.open_numbers()) and (DECODE not in state.roles or bool(state.open_numbers(DECODE)))

    def next_at(self, limit: float) -> float:
        """The next end of a copy or check of the policy, if not after `limit` [s]."""
        return min(self._next_check, self.moves.mover.next_at(min(limit, self._next_check)))

    def act(self, loop: ServingLoop, now: float) -> None:
        """Ends copies, and asks the policy."""
        self.moves.act(now)
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
                if request is not None:
                    self.moves.migrate(request, source, to, now)
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
        return self.moves.lose(number)

    def regain(self, number: int, now: float) -> None:
        """An instance is back, empty."""
        self.state.down.discard(number)
        self.moves.pull(now)

    def give_up_pulls(self) -> list[RequestState]:
        """Finished prompts that nobody will decode; their blocks are free again."""
        return self.moves.give_up_pulls()


__all__ = ["DECODE", "ServingCluster"]
