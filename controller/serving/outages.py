"""What the faults of a time line do to a server: instances that are gone, come back or become slower.

An instance is as its worst device: with one that is dead or frozen it is gone, and what its KV pool held is lost. Its
requests are sent again to instances that are left, with the tokens that their clients have, and are computed from the
beginning; where none is left they end with an error, as those do that arrive before one is back. A slow device makes
every iteration of its instance as much longer from the next one on.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from controller.faults.effects import Effects
from controller.serving.cluster import ServingCluster
from controller.serving.instance import ServingInstance
from controller.serving.loop import Dispatcher, OneInstance, ServingLoop
from controller.serving.state import RequestState

LOST: Final = "instance_lost"
"""Outcome of a request whose instance is gone, and none is left to go on with it."""
UNAVAILABLE: Final = "unavailable"
"""Outcome of a request that arrived while no instance took any."""


class ServingOutages:
    """Implements `Dispatcher` over another one.

    Attributes:
        lost_blocks: KV blocks that requests held on instances that went.
        resent, lost, refused: requests sent again, ended with `LOST`, ended with `UNAVAILABLE`.
        log: what happened, as (instant, instance, "down", "up" or "slower").
    """

    def __init__(
        self, inner: Dispatcher | None, effects: Sequence[tuple[float, Effects]], devices: Sequence[Sequence[str]],
        strike: Callable[[str], None] | None = None,
    ) -> None:  # fmt: skip
        """Outages that are still to come.

        Args:
            inner: where requests go; None for one instance.
            effects: of a time line, from each of its instants on.
            devices: of every instance.
            strike: ends the process of a device of a live server.
        """
        self.inner: Dispatcher = inner or OneInstance()
        self._cluster = self.inner if isinstance(self.inner, ServingCluster) else None
        self._effects, self._devices, self._strike = list(effects), devices, strike
        self.lost_blocks = self.resent = self.lost = self.refused = 0
        self.log: list[tuple[float, int, str]] = []

    def arrive(self, loop: ServingLoop, state: RequestState, now: float) -> None:
        """Sends a request on, or ends it where nobody takes it."""
        if self.inner.takes_requests(loop):
            self.inner.arrive(loop, state, now)
            return
        self.refused += 1
        loop.close(state, UNAVAILABLE, now)

    def ended(self, loop: ServingLoop, instance: ServingInstance, ended: Sequence[RequestState], now: float) -> None:
        """As the other dispatcher; finished prompts that nobody will decode end with an error."""
        self.inner.ended(loop, instance, ended, now)
        self._sweep(loop, now)

    def next_at(self, limit: float) -> float:
        """The next change of an instance, or what the other dispatcher has [s]."""
        own = self._effects[0][0] if self._effects else float("inf")
        return min(own, self.inner.next_at(min(limit, own)))

    def act(self, loop: ServingLoop, now: float) -> None:
        """Carries out the changes of this instant."""
        if not self._effects or self._effects[0][0] > now:
            self.inner.act(loop, now)
            return
        _, effects = self._effects.pop(0)
        gone = effects.dead_devices | effects.frozen
        for number, devices in enumerate(self._devices):
            instance = loop.instances[number]
            is_gone = any(device in gone for device in devices)
            if is_gone and not instance.is_down:
                for device in devices:
                    if self._strike is not None and device in gone:
                        self._strike(device)
                self.down(loop, instance, now)
            elif instance.is_down and not is_gone:
                self._up(loop, instance, now)
            slowdown = max(1.0 / effects.compute.get(device, 1.0) for device in devices)
            if slowdown != instance.slowdown:
                self.log.append((now, number, "slower" if slowdown > instance.slowdown else "faster"))
                for lane in instance.lanes:
                    lane.slowdown = slowdown
                    if lane.iteration is not None:
                        loop.wake(lane, now)

    def takes_requests(self, loop: ServingLoop) -> bool:
        """Whether a request that comes now has somewhere to go."""
        return self.inner.takes_requests(loop)

    def down(self, loop: ServingLoop, instance: ServingInstance, now: float) -> None:
        """Takes an instance away with everything that it held; its requests are sent again."""
        number = instance.state.number
        self.log.append((now, number, "down"))
        for lane in instance.lanes:
            lane.sync(now)
        self.lost_blocks += instance.state.pool.held_blocks
        homeless = [] if self._cluster is None else self._cluster.lose(number)
        for lane in instance.lanes:
            homeless += lane.lose(now)
        instance.state.pool.clear()
        for state in sorted(homeless, key=lambda each: each.request.number):
            state.start_again()
            if self.inner.takes_requests(loop):
                self.resent += 1
                self.inner.arrive(loop, state, now)
            else:
                self.lost += 1
                loop.close(state, LOST, now)
        self._sweep(loop, now)

    def _up(self, loop: ServingLoop, instance: ServingInstance, now: float) -> None:
        self.log.append((now, instance.state.number, "up"))
        for lane in instance.lanes:
            lane.is_down = False
        if self._cluster is not None:
            self._cluster.regain(instance.state.number, now)
        for lane in instance.lanes:
            loop.start(lane)

    def _sweep(self, loop: ServingLoop, now: float) -> None:
        """Ends prompts that wait for an instance to decode them while there is none."""
        if self._cluster is None or self.inner.takes_requests(loop):
            return
        for state in self._cluster.give_up_pulls():
            self.lost += 1
            loop.close(state, LOST, now)
