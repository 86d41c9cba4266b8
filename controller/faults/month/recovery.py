"""Recovery policies: what is done about a failure, and what that costs.

============  =================================================================================================
policy        after detection
============  =================================================================================================
restart       diagnosis, a host of the pool, re-initialisation, the newest checkpoint
isolate       no diagnosis: the suspect and its neighbours leave; otherwise as restart
spare         a warm spare takes the place: re-initialisation is 10.87 times faster (ByteRobust); as restart without one
replica       a data-parallel replica copies its state to a new host: nothing is lost, unless its twin failed too
shrink        training goes on with fewer replicas until the host is back; the newest checkpoint
microbatches  the other stages take the micro-batches of the lost one until it is back: nothing is lost
wait          the job waits until the host is repaired; the newest checkpoint
============  =================================================================================================
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from controller.errors import UserError
from controller.topology.nearest import hint

WARM = 10.87
"""Re-queueing over a warm standby. Source: ByteRobust, as a summary has it."""
NEIGHBOURS = 6
"""Healthy hosts that leave with a suspect. Source: ByteRobust evicts 6 to 7 a decision."""


@dataclass(frozen=True, slots=True)
class RecoveryPolicy:
    """What is done about a failure.

    Attributes:
        name: what ``--recovery`` calls it.
        diagnoses: whether the cause is looked for before going on.
        reinit_ratio: of the re-initialisation that it takes.
        rolls_back: whether work since the checkpoint is lost.
        takes_host: whether it goes on with another host at once.
        runs_short: whether it goes on with fewer hosts until the failed one is back.
        takes_neighbours: healthy hosts that leave with the suspect.
    """

    name: str
    diagnoses: bool = True
    reinit_ratio: float = 1.0
    rolls_back: bool = True
    takes_host: bool = True
    runs_short: bool = False
    takes_neighbours: int = 0


RECOVERIES: Mapping[str, RecoveryPolicy] = {
    each.name: each
    for each in (
        RecoveryPolicy("restart"),
        RecoveryPolicy("isolate", diagnoses=False, takes_neighbours=NEIGHBOURS),
        RecoveryPolicy("spare", diagnoses=False, reinit_ratio=1.0 / WARM),
        RecoveryPolicy("replica", diagnoses=False, rolls_back=False),
        RecoveryPolicy("shrink", diagnoses=False, takes_host=False, runs_short=True),
        RecoveryPolicy(
            "microbatches", diagnoses=False, reinit_ratio=0.1, rolls_back=False, takes_host=False, runs_short=True
        ),
        RecoveryPolicy("wait", takes_host=False),
    )
}


class UnknownRecovery(UserError):
    """No recovery policy of that name."""


def recovery_called(name: str) -> RecoveryPolicy:
    """The policy called `name`.

    Raises:
        UnknownRecovery: there is none; names the nearest.
    """
    if name not in RECOVERIES:
        raise UnknownRecovery(f"no recovery called {name!r}{hint(name, RECOVERIES, 'recovery policies')}")
    return RECOVERIES[name]
