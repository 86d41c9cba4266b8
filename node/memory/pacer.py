"""Holds uses of tiers and ports to their declared speed in wall time, shared max-min fairly by those that overlap.

The pacer is a small fluid simulation in device time that only ever runs up to now: whoever waits advances it, so an end
is an exact device time however late the waiting thread wakes. A flow that starts in the past of the pacer, because a
signal took a while, is given what it would have moved since, and those that used its share give that back: the latency
of messages neither adds up nor makes bandwidth.
"""

from __future__ import annotations

import math
from threading import Lock

from node.clock import PacedClock
from node.memory.resources import Side
from node.memory.sharing import max_min_rates

_DONE = 1 - 1e-12
_LOOK_WALL_S = 5.0
"""How often somebody who waits looks whether the flow was closed [s of wall time]."""


class PacedFlow:
    """One use in progress.

    Attributes:
        target: how much it shall have moved so far; grows while a push goes on [bytes or s].
        done: how much it has moved at the pacer's time.
        reached: device time at which `done` last reached `target` [s].
        active_at: when its latency is paid [s].
        closed: nobody waits for it any more.
    """

    __slots__ = ("active_at", "closed", "done", "loads", "rate", "rate_limit", "reached", "target")

    def __init__(self, target: float, rate_limit: float, loads: Side, active_at: float) -> None:
        self.target, self.rate_limit, self.loads, self.active_at = target, rate_limit, loads, active_at
        self.done, self.rate, self.reached = 0.0, 0.0, active_at
        self.closed = False

    @property
    def backlogged(self) -> bool:
        """Whether it wants to move more."""
        return self.done < self.target * _DONE


class Pacer:
    """The flows of one owner of resources: a node, or the arbiter of the links."""

    def __init__(self, clock: PacedClock) -> None:
        self.clock = clock
        self._now = -math.inf
        self._flows: list[PacedFlow] = []
        self._lock = Lock()

    def open(self, work: float, rate_limit: float, loads: Side, active_at: float) -> PacedFlow:
        """Starts a flow at `active_at` [s], in the past or in the future."""
        flow = PacedFlow(work, rate_limit, loads, active_at)
        with self._lock:
            now = self.clock.now()
            self._advance(now)
            self._flows.append(flow)
            if active_at < now:
                self._make_up(flow, now)
            self._share(now)
        return flow

    def _make_up(self, flow: PacedFlow, now: float) -> None:
        """Gives a flow that starts late what it would have moved since, and takes it from those that had its share."""
        before = [(other, other.rate) for other in self._flows if other is not flow and other.backlogged]
        self._share(now)
        late_s = now - flow.active_at
        flow.done = min(flow.target, flow.rate * late_s)
        if not flow.backlogged:
            flow.reached = flow.active_at + (flow.target / flow.rate if flow.rate else 0.0)
        for other, rate in before:
            beside_s = max(0.0, min(late_s, now - other.active_at))
            other.done = min(max(0.0, other.done - (rate - other.rate) * beside_s), other.target)
            other.reached = now

    def extend(self, flow: PacedFlow, target: float) -> None:
        """Raises the flow's target."""
        with self._lock:
            now = self.clock.now()
            self._advance(now)
            flow.target = max(flow.target, target)
            self._share(now)

    def wait(self, flow: PacedFlow, mark: float) -> float:
        """Returns, not earlier than that in wall time, when the flow has moved `mark` [device time, s].

        The flow's target must be `mark` at least; when it is more, the answer may be a little later than exact.
        """
        while True:
            with self._lock:
                now = self.clock.now()
                self._advance(now)
                if flow.done >= mark * _DONE and now >= flow.active_at:
                    return flow.reached if not flow.backlogged else now
                if flow.closed:
                    return now
                until = self._next_change(now, flow, mark)
            # A new flow only makes this one later, so nobody has to be woken early, but to see that it was closed.
            self.clock.sleep_until(min(until, now + _LOOK_WALL_S / self.clock.dilation))

    def close(self, flow: PacedFlow) -> None:
        """Forgets a flow."""
        with self._lock:
            self._advance(self.clock.now())
            flow.closed = True
            if flow in self._flows:
                self._flows.remove(flow)

    def _next_change(self, now: float, flow: PacedFlow, mark: float) -> float:
        until = flow.active_at if flow.active_at > now else math.inf
        if flow.rate > 0 and flow.active_at <= now:
            until = now + max(0.0, mark - flow.done) / flow.rate
        for other in self._flows:
            if other.active_at > now:
                until = min(until, other.active_at)
            elif other.rate > 0 and other.backlogged:
                until = min(until, now + (other.target - other.done) / other.rate)
        return until if math.isfinite(until) else now + 1e-3

    def _advance(self, now: float) -> None:
        """Moves every flow on to `now`, from change to change."""
        at = self._now
        while at < now and self._flows:
            step_to = now
            for flow in self._flows:
                if at < flow.active_at < step_to:
                    step_to = flow.active_at
                elif flow.rate > 0 and flow.backlogged:
                    step_to = min(step_to, at + (flow.target - flow.done) / flow.rate)
            for flow in self._flows:
                if flow.rate > 0 and flow.backlogged:
                    done_at = at + (flow.target - flow.done) / flow.rate
                    if done_at <= step_to:
                        flow.done, flow.reached = flow.target, done_at
                    else:
                        flow.done += flow.rate * (step_to - at)
            changed = step_to < now
            at = step_to
            if changed:
                self._share(at)
        self._now = now
        self._share(now)

    def _share(self, now: float) -> None:
        active = [flow for flow in self._flows if flow.backlogged and flow.active_at <= now]
        rates = max_min_rates([(flow.rate_limit, flow.loads) for flow in active])
        for flow in self._flows:
            flow.rate = 0.0
        for flow, rate in zip(active, rates, strict=True):
            flow.rate = rate
