"""POLCA over the instances of a server: clocks that follow the power of the row, out of band and so with a delay.

Power of a device: idle power, and the difference to busy power for the share of the last period that its instance was
in iterations, in proportion to its clock. A lower clock makes iterations with prompts as much longer, since their
products are bound by arithmetic, and leaves those of decodes alone, which wait for memory.

Paper: Patel et al., POLCA, arXiv 2308.12908, section 6; the decisions are those of `clusters/polca.py`.
Differs: the power of the row is looked at every two seconds; the host's work in an iteration counts as busy.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from controller.serving.clusters.polca import BRAKE_S, COMMAND_S, FULL_MHZ, PowerCaps, decide_caps
from controller.serving.instance import ServingInstance
from controller.serving.loop import Dispatcher, OneInstance, ServingLoop
from controller.serving.state import RequestState

PERIOD_S: Final = 2.0
"""How often the power of a row is looked at [s]: assumed."""


class PowerCappedRow:
    """Implements `Dispatcher` over another one.

    Attributes:
        brakes, commands: how often the brake came on, and how often clocks were set at all.
        peak_ratio: highest power of a period over what is provisioned.
        capped_s: time that either priority ran below its full clock [s].
    """

    def __init__(
        self, inner: Dispatcher | None, watts: Sequence[tuple[float, float]], provisioned_w: float, low: int
    ) -> None:
        """A row at full clock.

        Args:
            inner: where requests go; None for one instance.
            watts: idle and busy power of every instance [W].
            provisioned_w: of the row [W].
            low: instances of low priority, the last ones.
        """
        self.inner: Dispatcher = inner or OneInstance()
        self._watts, self._provisioned_w, self._low = list(watts), provisioned_w, low
        self._caps = PowerCaps()
        self._pending: list[tuple[float, PowerCaps]] = []
        self._next_look, self._busy_s = PERIOD_S, [0.0] * len(watts)
        self.brakes = self.commands = 0
        self.peak_ratio = self.capped_s = 0.0

    def arrive(self, loop: ServingLoop, state: RequestState, now: float) -> None:
        """As the other dispatcher."""
        if self._next_look == float("inf"):
            self._next_look = now + PERIOD_S
        self.inner.arrive(loop, state, now)

    def ended(self, loop: ServingLoop, instance: ServingInstance, ended: Sequence[RequestState], now: float) -> None:
        """As the other dispatcher."""
        self.inner.ended(loop, instance, ended, now)

    def takes_requests(self, loop: ServingLoop) -> bool:
        """As the other dispatcher."""
        return self.inner.takes_requests(loop)

    def next_at(self, limit: float) -> float:
        """The next look at the row, the next command that takes hold, or what the other dispatcher has [s]."""
        own = min(self._next_look, self._pending[0][0] if self._pending else float("inf"))
        return min(own, self.inner.next_at(min(limit, own)))

    def act(self, loop: ServingLoop, now: float) -> None:
        """Lets commands take hold, and looks at the power."""
        if self._pending and self._pending[0][0] <= now:
            self._set(loop, self._pending.pop(0)[1])
        elif self._next_look <= now:
            self._look(loop, now)
        else:
            self.inner.act(loop, now)

    def _look(self, loop: ServingLoop, now: float) -> None:
        self._next_look = now + PERIOD_S
        if loop.all_arrived and all(each.iteration is None for each in loop.instances):
            self._next_look = float("inf")  # nothing runs that it could cap
        if self._caps != PowerCaps():
            self.capped_s += PERIOD_S
        ratio = self._power_w(loop, now) / self._provisioned_w
        self.peak_ratio = max(self.peak_ratio, ratio)
        latest = self._pending[-1][1] if self._pending else self._caps
        wanted = decide_caps(latest, ratio)
        if wanted != latest:
            self.commands += 1
            self.brakes += wanted.braking
            self._pending.append((now + (BRAKE_S if wanted.braking else COMMAND_S), wanted))
            self._pending.sort(key=lambda entry: entry[0])

    def _power_w(self, loop: ServingLoop, now: float) -> float:
        """Mean power of the last period [W]."""
        total = 0.0
        for number, (idle_w, busy_w) in enumerate(self._watts):
            lanes = loop.instances[number].lanes
            busy_s = sum(each.busy_s - max(0.0, each.ends_at[-1] - now if each.ends_at else 0.0) for each in lanes)
            share = min(1.0, max(0.0, busy_s - self._busy_s[number]) / len(lanes) / PERIOD_S)
            self._busy_s[number] = busy_s
            total += idle_w + (busy_w - idle_w) * share * self._clock_mhz(number) / FULL_MHZ
        return total

    def _clock_mhz(self, number: int) -> int:
        return self._caps.low if number >= len(self._watts) - self._low else self._caps.high

    def _set(self, loop: ServingLoop, caps: PowerCaps) -> None:
        self._caps = caps
        for number in range(len(self._watts)):
            for lane in loop.instances[number].lanes:
                lane.prompt_slowdown = FULL_MHZ / self._clock_mhz(number)
