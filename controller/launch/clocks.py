"""Where device time 0 lies on the monotonic clock of another machine."""

from __future__ import annotations

from controller.clock import machine, wall_clock_s
from node.client import NodeClient

_ASKED = 8


def clock_offset_s(client: NodeClient) -> float:
    """What to add to an instant of this machine's monotonic clock to have it on the node's [s].

    Model: the node read its clock halfway between question and answer; of several questions the quickest counts, so the
    offset is wrong by at most half of its duration. 0 on this machine, whose processes share one clock.

    Source: F. Cristian, Probabilistic clock synchronization, Distributed Computing 3 (1989), section 3.
    """
    best_s, offset_s = float("inf"), 0.0
    for _ in range(_ASKED):
        asked_at = wall_clock_s()
        said = client.describe()
        took_s = wall_clock_s() - asked_at
        if said.machine == machine():
            return 0.0
        if took_s < best_s:
            best_s, offset_s = took_s, said.clock_now - (asked_at + took_s / 2)
    return offset_s
