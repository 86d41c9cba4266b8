"""The kinds of fault: what each strikes, what its severity means, and what becomes of the work that is running.

What becomes of running work is fixed, and the same on both executors:

============  ==========================  ============================================================================
kind          severity                    running work
============  ==========================  ============================================================================
dead          none                        stops: flows and kernels on it do no more; the program is told at once
                                          (`DeviceLost`), as a closed connection tells it
frozen        none                        waits for ever, or goes on where it stopped when the fault ends; the program
                                          is told after the node timeout, as silence tells it
slow          times slower, above 1       goes on, every kernel so many times longer
bandwidth     share that is left          goes on with that share of the capacity, in each direction
loss          share of packets lost       retransmits: capacity 1 - p, and each lost packet costs one more round trip
flap          share of the time down      retransmits: stands still or takes another path while down, and goes on after
corrupt       share of transfers hit      goes on, with wrong values and the right times
read_retries  further reads of each read  goes on: reads take 1 + x times as long, writes as long as ever
============  ==========================  ============================================================================
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import inf

from controller.topology.fault import BANDWIDTH, CORRUPT, DEAD, FLAP, FROZEN, LOSS, READ_RETRIES, SLOW

COMPUTING = ("device", "process", "host", "rack")
CARRYING = ("link", "port", "nic", "switch")


@dataclass(frozen=True, slots=True)
class FaultKind:
    """One way to break.

    Attributes:
        strikes: kinds of components that can break so.
        above, below: severities that make sense lie between, both excluded; `below` is included for `corrupt`.
        unit: what a severity is, for people; "" where there is none.
        default: severity when none is written; None where one must be.
        fate: what becomes of running work: ``stops``, ``waits``, ``retransmits`` or ``goes on``.
    """

    strikes: tuple[str, ...]
    above: float
    below: float
    unit: str
    default: float | None
    fate: str


KINDS: Mapping[str, FaultKind] = {
    DEAD: FaultKind((*COMPUTING, *CARRYING, "tier"), 0.0, inf, "", 1.0, "stops"),
    FROZEN: FaultKind(COMPUTING, 0.0, inf, "", 1.0, "waits"),
    SLOW: FaultKind(COMPUTING, 1.0, 1e6, "times slower, above 1", None, "goes on"),
    BANDWIDTH: FaultKind(
        (*COMPUTING, *CARRYING, "tier"), 0.0, 1.0, "the share that is left, between 0 and 1", None, "goes on"
    ),
    LOSS: FaultKind((*CARRYING, "host"), 0.0, 1.0, "the share of packets lost, between 0 and 1", None, "retransmits"),
    FLAP: FaultKind(CARRYING, 0.0, 1.0, "the share of the time that it is down, between 0 and 1", 0.5, "retransmits"),
    CORRUPT: FaultKind(
        (*COMPUTING, *CARRYING, "tier"), 0.0, 1.0 + 1e-12, "the share of transfers hit, above 0 up to 1", 1.0, "goes on"
    ),
    READ_RETRIES: FaultKind(("tier", "device"), 0.0, 1e6, "further reads of each read, above 0", None, "goes on"),
}
FLAP_PERIOD_S = 1.0
"""Down and up again of a flap whose shape says no period [s]; assumed."""
