"""Time of handing activations from one pipeline stage to the next."""

from __future__ import annotations

from controller.execute.virtual import VirtualRun
from controller.plan.ops import Buffer
from controller.plan.script import Script
from controller.topology.schema import Topology


class HopTimes:
    """A transfer between two devices, executed for one token and for many, and on the line between.

    Attributes:
        row_bytes: of the activations of a token [bytes].
    """

    def __init__(self, topology: Topology, source: str, destination: str, row_bytes: int, most_tokens: int) -> None:
        self.row_bytes = row_bytes
        self._topology, self._ends, self._most = topology, (source, destination), max(2, most_tokens)
        self._line: tuple[float, float] | None = None

    def hop_s(self, tokens: int) -> float:
        """Time of the rows of `tokens` tokens [s]."""
        if self._line is None:
            one, many = self._timed(1), self._timed(self._most)
            slope = (many - one) / (self._most - 1)
            self._line = one - slope, slope
        return self._line[0] + self._line[1] * tokens

    def _timed(self, tokens: int) -> float:
        run, s = VirtualRun(self._topology), Script("hop")
        here, there = (
            Buffer(device, "hbm", f"rows.{side}", "uint8", (tokens * self.row_bytes,))
            for device, side in zip(self._ends, ("from", "to"), strict=True)
        )
        for buffer in (here, there):
            run.place(buffer, written=True)
        s.move(here.view(), there.view(), "next stage")
        (done,) = run.advance([run.submit(s.plan()).number])
        return done.end_at - done.submitted_at
