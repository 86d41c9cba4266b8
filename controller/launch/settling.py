"""Commits that several drives make together, or not at all.

**Two phases.** Every drive that takes part prepares: all that was written is on its disk, beside the state that it
committed last, under the name of the transaction and with the names of the others. When all have said so, all are told
to commit, which is a rename. A step is acknowledged when all have said that too.

**After a break** some drives may have committed a transaction that others have only prepared, or only some may have
prepared it. It counts as committed if any drive has committed it, or if every one that takes part has prepared it: then
the controller may have acknowledged it. Otherwise it was not acknowledged, and is forgotten. `settle` decides so before
anything else is done with the drives of a run, so that what a run finds is the newest step that all of them hold.

Not covered: a run without one of the drives that took part. What the others only prepared is forgotten then, unless one
that is there has committed it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from typing import TypeVar

from controller.clock import wall_clock_s
from node.client import NodeClient, TierTransactions

_Result = TypeVar("_Result")
_numbers = count(1)


def commit_together(clients: Sequence[NodeClient]) -> int:
    """Makes what was written to the flash of some devices survive, on all of them; returns the bytes written [bytes].

    Raises:
        DeviceUnreachable, NodeError: of the first that failed; the next `settle` says whether the step is there.
    """
    if not clients:
        return 0
    names = [client.device for client in clients]
    # Never used twice, not even by a controller that takes the place of one that was killed.
    transaction = f"{os.getpid()}-{wall_clock_s():.6f}-{next(_numbers)}"
    try:
        written = sum(_each(clients, lambda client: client.prepare(transaction, names)))
    except Exception:
        for client in clients:
            try:
                client.abandon()
            except Exception:
                continue
        raise
    _each(clients, lambda client: client.commit(transaction))
    return written


def settle(clients: Mapping[str, NodeClient]) -> None:
    """Finishes or forgets what an earlier controller left half committed."""
    found = dict(zip(clients, _each(list(clients.values()), NodeClient.transactions), strict=True))
    for device, transaction in decide(found).items():
        if transaction:
            clients[device].commit(transaction)
        else:
            clients[device].abandon()


def decide(found: Mapping[str, Sequence[TierTransactions]]) -> dict[str, str]:
    """What each device that has prepared something shall do: the transaction to commit, or "" to forget it.

    Args:
        found: flash tiers by device, of all devices that are there.
    """
    committed = {tier.committed for tiers in found.values() for tier in tiers if tier.committed}

    def holds(device: str, transaction: str) -> bool:
        tiers = found.get(device, ())
        return bool(tiers) and all(transaction in (tier.committed, tier.prepared) for tier in tiers)

    decided: dict[str, str] = {}
    for device, tiers in found.items():
        for tier in tiers:
            if tier.prepared:
                is_whole = all(holds(each, tier.prepared) for each in tier.participants)
                decided[device] = tier.prepared if is_whole or tier.prepared in committed else ""
    return decided


def _each(clients: Sequence[NodeClient], act: Callable[[NodeClient], _Result]) -> list[_Result]:
    """Calls all at once; waits for all, and raises what the first of them raised."""
    if not clients:
        return []
    with ThreadPoolExecutor(min(16, len(clients))) as pool:
        return [future.result() for future in [pool.submit(act, client) for client in clients]]
