"""Does the work of a command and says when the device has ended it."""

from __future__ import annotations

from collections.abc import Callable

from node.clock import PacedClock
from node.memory.ledger import UseLedger
from node.memory.pacer import Pacer
from node.memory.resources import Use

Work = Callable[[], None]


class LogicalTime:
    """Device time that is computed and not waited for."""

    def __init__(self) -> None:
        self._ledger = UseLedger()

    def run(self, start_at: float, use: Use, work: Work) -> tuple[float, bool]:
        """Does `work` at once."""
        work()
        return self._ledger.charge(use, start_at), False


class PacedTime:
    """Device time in which the caller returns when the device would, never earlier."""

    def __init__(self, clock: PacedClock) -> None:
        self.clock = clock
        self.pacer = Pacer(clock)

    def run(self, start_at: float, use: Use, work: Work) -> tuple[float, bool]:
        """Does `work` from `start_at` on and sleeps until the device has ended it."""
        self.clock.sleep_until(start_at)
        flow = self.pacer.open(use.work, use.rate_limit, use.loads, start_at + use.latency_s)
        try:
            work()
            worked_until = self.clock.now()
            end_at = self.pacer.wait(flow, use.work)
        finally:
            self.pacer.close(flow)
        return (worked_until, True) if worked_until > end_at else (end_at, False)
