"""Where batches lie in the arrays of the engine, and how long these have to be."""

from __future__ import annotations

from controller.engine import records
from controller.engine.activities import Activities
from controller.engine.deadlock import Batch
from controller.engine.errors import BadActivities
from controller.engine.memory import Ranges
from controller.engine.records import Store

LARGEST_INDEX = 2**31 - 1


class BatchRanges:
    """The ranges of every array that batches take and give back."""

    def __init__(self) -> None:
        self._activities = Ranges()
        self._loads = Ranges()
        self._successors = Ranges()
        self._slots = Ranges()

    def take(self, batch: Activities) -> Batch:
        """Ranges for a batch; the arrays may be too short for them until they are `enlarged`."""
        return Batch(
            batch,
            self._activities.take(len(batch.work) + 1),
            self._loads.take(len(batch.load_resource)),
            self._successors.take(len(batch.dep)),
            self._slots.take(1),
        )

    def give_back(self, lies: Batch) -> None:
        """Takes the ranges of a batch back."""
        self._activities.give(lies.first, lies.template.count + 1)
        self._loads.give(lies.first_load, len(lies.template.load_resource))
        self._successors.give(lies.first_successor, len(lies.template.dep))
        self._slots.give(lies.slot, 1)

    def enlarged(self, store: Store) -> Store:
        """`store` with arrays as long as the ranges that were handed out, with room for more to come.

        Raises:
            BadActivities: more entries than the engine can number.
        """
        if self._activities.end > len(store.activity):
            store = store._replace(activity=records.enlarged(store.activity, _room(self._activities.end)))
        if self._loads.end > len(store.load):
            store = store._replace(load=records.enlarged(store.load, _room(self._loads.end)))
        if self._successors.end > len(store.successor):
            store = store._replace(successor=records.enlarged(store.successor, _room(self._successors.end)))
        if self._slots.end > len(store.batch):
            store = store._replace(batch=records.enlarged(store.batch, _room(self._slots.end)))
        return store


def _room(needed: int) -> int:
    if needed > LARGEST_INDEX:
        raise BadActivities(f"{needed} entries are more than the engine can number, {LARGEST_INDEX}")
    return min(max(64, needed + needed // 4), LARGEST_INDEX)
