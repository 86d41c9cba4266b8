"""Where a live command spends its wall time, told while it does."""

from __future__ import annotations

from controller.clock import wall_clock_s
from controller.program.run import ProgressSink


class Phases:
    """A stopwatch with a name for each stretch of time; only one runs.

    Attributes:
        wall_s: duration of each phase that has ended, in order; one that was begun twice adds up [s].
    """

    def __init__(self, progress: ProgressSink | None = None) -> None:
        """Starts none.

        Args:
            progress: hears what begins and what has ended.
        """
        self.wall_s: dict[str, float] = {}
        self.progress = progress
        self._running: tuple[str, str] | None = None
        self._since = wall_clock_s()

    def begin(self, name: str, what: str = "") -> None:
        """Ends the phase that runs and begins `name`.

        Args:
            name: key of `wall_s`.
            what: said to people; "" for a phase that says itself how far it is.
        """
        self.end()
        self._running = (name, what)
        self._tell(0)

    def end(self) -> None:
        """Ends the phase that runs."""
        now = wall_clock_s()
        if self._running is not None:
            name, _ = self._running
            self.wall_s[name] = self.wall_s.get(name, 0.0) + now - self._since
            self._tell(1)
        self._running, self._since = None, now

    def say(self, what: str) -> None:
        """Tells people of a step within a phase."""
        if self.progress is not None:
            self.progress(0, 1, what)

    def _tell(self, done: int) -> None:
        if self.progress is not None and self._running is not None and self._running[1]:
            self.progress(done, 1, self._running[1])
