"""The engine as Python sees it: submit batches of arrays, run, read when everything started and ended."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import inf, isfinite, isnan

import numpy as np
from numpy.typing import ArrayLike, NDArray

from controller.engine import loop, records
from controller.engine.activities import Activities, row
from controller.engine.admission import FINE, complaint
from controller.engine.batch_ranges import LARGEST_INDEX, BatchRanges
from controller.engine.deadlock import Batch, EngineNames, StallExplanation
from controller.engine.entries import entries
from controller.engine.errors import (
    BadActivities,
    BadQueue,
    BadResource,
    EventBudgetSpent,
    TimeReversed,
    UnfinishedBatch,
    UnknownTicket,
)
from controller.engine.reweighing import reweigh_entry


class Engine:
    """Virtual time for activities that share resources max-min fairly; see the docstring of the package.

    Args:
        names: what to call activities, resources and queues in messages.
        event_budget: events after which `run` gives up, over the life of the engine. An activity has two at most, its
            end and the end of its latency.
    """

    def __init__(self, *, names: EngineNames | None = None, event_budget: int = 10**15) -> None:
        self._entries = entries()
        self._names = names or EngineNames()
        self._store = records.empty_store()
        self._state = self._store.state[0]
        self._pending = self._store.batch["pending"]
        self._watched = self._store.batch["watched"]
        self._serial = 0
        self._state["event_budget"] = event_budget
        self._resource_count = 0
        self._queue_count = 0
        self._batches: dict[int, Batch] = {}
        self._next_ticket = 0
        self._ranges = BatchRanges()
        self._places = np.zeros(6, np.int64)

    @property
    def now(self) -> float:
        """The present [s]."""
        return float(self._state["now"])

    @property
    def unfinished(self) -> int:
        """How many submitted activities have not ended."""
        return int(self._state["unfinished"])

    @property
    def counts(self) -> Mapping[str, int]:
        """Work done so far: events, solves, flows that these solved, and fillings that had to start again."""
        return {name: int(self._state[name]) for name in ("events", "solves", "solved_flows", "repeats")}

    def add_resources(self, capacity: ArrayLike) -> NDArray[np.int32]:
        """Ids of new resources of that capacity, (k), > 0, in units of rate x weight.

        Raises:
            BadResource: a capacity that is not finite or not > 0.
        """
        capacities = np.atleast_1d(np.asarray(capacity, np.float64))
        for i in np.flatnonzero(~(np.isfinite(capacities) & (capacities > 0.0)))[:1]:
            raise BadResource(f"capacity of new resource {i} is {capacities[i]}; it must be finite and > 0")
        first = self._resource_count
        self._resource_count += len(capacities)
        if self._resource_count > len(self._store.resource):
            self._store = records.with_resources(self._store, max(16, 2 * self._resource_count))
        new = self._store.resource[first : self._resource_count]
        new["capacity"] = capacities
        new["position"] = -1
        return np.arange(first, self._resource_count, dtype=np.int32)

    def add_queues(self, slots: ArrayLike, *, pipelined: bool = False) -> NDArray[np.int32]:
        """Ids of new in-order queues, each with that many slots, (k), >= 1.

        Args:
            slots: how many activities of a queue run at once.
            pipelined: whether the latency of an activity runs from when what it waits for has ended, while those
                before it in the queue still flow, and not from its start.

        Raises:
            BadQueue: fewer than one slot.
        """
        counts = np.atleast_1d(np.asarray(slots))
        for i in np.flatnonzero(~((counts >= 1) & (counts <= LARGEST_INDEX) & (counts == np.floor(counts))))[:1]:
            raise BadQueue(f"new queue {i} has {counts[i]} slots; it must have a whole number, at least 1")
        first = self._queue_count
        self._queue_count += len(counts)
        if self._queue_count > len(self._store.queue):
            self._store = self._store._replace(
                queue=records.enlarged(self._store.queue, max(16, 2 * self._queue_count))
            )
        new = self._store.queue[first : self._queue_count]
        new["head"] = -1
        new["tail"] = -1
        new["free"] = counts
        new["pipelined"] = pipelined
        return np.arange(first, self._queue_count, dtype=np.int32)

    def submit(
        self,
        batch: Activities,
        *,
        work: ArrayLike | None = None,
        latency_s: ArrayLike | None = None,
        rate_limit: ArrayLike | None = None,
        load_weight: ArrayLike | None = None,
    ) -> int:
        """Hand over a batch at the present; arrays that are given replace those of the batch.

        Nothing happens before the next `run`; then what waits for nothing starts at this instant. The arrays are
        copied.

        Returns:
            A ticket that stands for the batch until it is released.

        Raises:
            BadActivities: invalid values, or nothing that limits the rate of some work.
        """
        arrays = (
            batch.work if work is None else self._instead("work", work, batch.work),
            batch.latency_s if latency_s is None else self._instead("latency_s", latency_s, batch.latency_s),
            batch.rate_limit if rate_limit is None else self._instead("rate_limit", rate_limit, batch.rate_limit),
            batch.queue,
            batch.load_start,
            batch.load_resource,
            batch.load_weight if load_weight is None else self._instead("load_weight", load_weight, batch.load_weight),
            batch.dep_start,
            batch.dep,
        )
        lies = self._ranges.take(batch)
        try:
            self._make_room()
        except (BadActivities, MemoryError):
            self._ranges.give_back(lies)
            raise
        places = self._places
        places[0] = self._resource_count
        places[1] = self._queue_count
        places[2:] = lies[1:]
        wrong, where = self._entries.admit(self._store, *arrays, places, np.empty(batch.count + 1, np.int32))
        if wrong != FINE:
            self._ranges.give_back(lies)
            raise BadActivities(complaint(wrong, where, arrays, (self._resource_count, self._queue_count)))
        ticket = self._next_ticket
        self._next_ticket += 1
        self._batches[ticket] = lies
        return ticket

    def run(self, *, until_s: float = inf, tickets: Sequence[int] = ()) -> tuple[int, ...]:
        """Let time pass until one of `tickets` has ended, or until an instant, or until nothing is left to do.

        With a finite `until_s` that no ticket comes before, the present is `until_s` afterwards, also when everything
        ended earlier or stands still: whoever waits may still change a capacity or submit more.

        Returns:
            Those of `tickets` that have ended, in the order in which they were given.

        Raises:
            UnknownTicket: one of `tickets` was never handed out, or has been released.
            TimeReversed: `until_s` has passed.
            Deadlock: activities that can never end, with `until_s` infinite.
            EventBudgetSpent: more events than the engine was given.
        """
        if isnan(until_s) or until_s < self.now:
            raise TimeReversed(f"cannot run until {until_s} s; it is {self.now} s already")
        batches = self._batches
        try:
            slots = [batches[ticket].slot for ticket in tickets]
        except KeyError as unknown:
            raise self._unknown(unknown.args[0]) from None
        ended = self._ended(tickets, slots)
        if ended:
            return ended
        self._watch(slots)
        self._advance(until_s)
        return self._ended(tickets, slots)

    def start_at(self, ticket: int) -> NDArray[np.float64]:
        """When each activity started, (n) [s]; nan: not yet, or cancelled before."""
        return self._column(ticket, "start_at")

    def end_at(self, ticket: int) -> NDArray[np.float64]:
        """When each activity ended or was cancelled, (n) [s]; nan: not yet."""
        return self._column(ticket, "end_at")

    def cancelled(self, ticket: int) -> NDArray[np.bool_]:
        """Which activities were cancelled, (n)."""
        return self._column(ticket, "cancelled").astype(np.bool_)

    def rates(self, ticket: int) -> NDArray[np.float64]:
        """Rate of each activity at present, (n) [work/s]; 0 for what does not flow.

        Whatever is due at this very instant happens first.
        """
        lies = self._batch(ticket)
        self._watch([])
        self._advance(self.now)
        flows = self._store.activity["flow"][lies.first : lies.first + lies.template.count]
        return np.where(flows >= 0, self._store.flow["rate"][np.maximum(flows, 0)], 0.0)

    def release(self, ticket: int) -> None:
        """Forget a batch that has ended; its memory goes to later ones.

        Raises:
            UnknownTicket: never handed out, or released already.
            UnfinishedBatch: some of its activities have not ended.
        """
        lies = self._batch(ticket)
        pending = int(self._pending[lies.slot])
        if pending:
            raise UnfinishedBatch(f"ticket {ticket} cannot be released: {pending} of its activities have not ended")
        del self._batches[ticket]
        self._ranges.give_back(lies)

    def set_capacity(self, resource: int, capacity: float) -> None:
        """Change what a resource can take from now on; 0: it has failed, and what loads it stands still.

        Raises:
            BadResource: no such resource, or a capacity that is not finite or below 0.
        """
        if not 0 <= resource < self._resource_count:
            raise BadResource(f"there is no resource {resource}; there are {self._resource_count}")
        if not (isfinite(capacity) and capacity >= 0.0):
            raise BadResource(f"capacity of {self._names.resource(resource)} cannot be {capacity}; finite and >= 0")
        changed = self._store.resource[resource]
        if changed["capacity"] == capacity:
            return
        changed["capacity"] = capacity
        if changed["touched"] == records.UNTOUCHED:
            count = int(self._state["touched_count"])
            self._store.touched[count] = resource
            self._state["touched_count"] = count + 1
        changed["touched"] = records.CAPACITY_CHANGED
        self._store.tally["mark"][resource] = records.HOT

    def cancel(self, ticket: int, activity: int) -> bool:
        """End an activity at the present, whatever it is doing.

        It leaves its resources and its queue, what is left of its work is never done, and whoever depends on it goes
        on: who wants those cancelled too cancels them too.

        Returns:
            False if it had ended already.

        Raises:
            UnknownTicket: never handed out, or released already.
            BadActivities: no such activity in that batch.
        """
        lies = self._batch_with(ticket, activity)
        return bool(self._entries.cancel(self._store, lies.first + activity))

    def reweigh(self, ticket: int, activity: int, weights: ArrayLike) -> float:
        """Change what an activity takes of its resources from now on; what it has done stays done.

        Args:
            ticket: of the batch.
            activity: number of the activity in it.
            weights: one for each of its loads, in the order of the batch, >= 0.

        Returns:
            The work that is left; 0 when it has ended.

        Raises:
            UnknownTicket: never handed out, or released already.
            BadActivities: no such activity, or weights that it cannot have.
        """
        lies = self._batch_with(ticket, activity)
        given = row("weights", weights, np.float64)
        start, stop = lies.template.load_start[activity : activity + 2]
        if len(given) != stop - start or not bool((np.isfinite(given) & (given >= 0.0)).all()):
            raise BadActivities(f"activity {activity} has {stop - start} loads, whose weights cannot be {given}")
        place = self._store.activity[lies.first + activity]
        if place["work"] > 0.0 and place["rate_limit"] == inf and not bool((given > 0.0).any()):
            raise BadActivities(f"activity {activity} has work and would load nothing: nothing would limit its rate")
        return float(reweigh_entry()(self._store, lies.first + activity, given, float(place["rate_limit"])))

    def limit_rate(self, ticket: int, activity: int, rate_limit: float) -> None:
        """Change how fast an activity may be from now on; what it has done stays done.

        Raises:
            UnknownTicket: never handed out, or released already.
            BadActivities: no such activity, or a limit that is not finite or not > 0.
        """
        lies = self._batch_with(ticket, activity)
        if not (isfinite(rate_limit) and rate_limit > 0.0):
            raise BadActivities(f"rate_limit of activity {activity} cannot be {rate_limit}; finite and > 0")
        weights = self._loads_of(lies, activity)["weight"].copy()
        reweigh_entry()(self._store, lies.first + activity, weights, rate_limit)

    def _loads_of(self, lies: Batch, activity: int) -> NDArray[np.void]:
        start, stop = lies.template.load_start[activity : activity + 2]
        loads: NDArray[np.void] = self._store.load[lies.first_load + start : lies.first_load + stop]
        return loads

    def _batch(self, ticket: int) -> Batch:
        lies = self._batches.get(ticket)
        if lies is None:
            raise self._unknown(ticket)
        return lies

    def _batch_with(self, ticket: int, activity: int) -> Batch:
        lies = self._batch(ticket)
        if not 0 <= activity < lies.template.count:
            raise BadActivities(f"ticket {ticket} has no activity {activity}; it has {lies.template.count}")
        return lies

    def _unknown(self, ticket: int) -> UnknownTicket:
        return UnknownTicket(f"ticket {ticket} was never handed out or has been released")

    def _instead(self, name: str, values: ArrayLike, template: NDArray[np.float64]) -> NDArray[np.float64]:
        given = row(name, values, np.float64)
        if len(given) != len(template):
            raise BadActivities(f"{name} has {len(given)} values; the batch has {len(template)}")
        return given

    def _column(self, ticket: int, name: str) -> NDArray[np.float64]:
        lies = self._batch(ticket)
        column: NDArray[np.float64] = self._store.activity[name][lies.first : lies.first + lies.template.count]
        return column.copy()

    def _ended(self, tickets: Sequence[int], slots: list[int]) -> tuple[int, ...]:
        if not slots:
            return ()
        pending = self._pending[slots].tolist()
        return tuple(ticket for ticket, left in zip(tickets, pending, strict=True) if left == 0)

    def _watch(self, slots: list[int]) -> None:
        """Let the next run stop when one of these batches has ended."""
        self._serial += 1
        self._state["serial"] = self._serial
        self._state["watched_ended"] = 0
        if slots:
            self._watched[slots] = self._serial

    def _advance(self, until_s: float) -> None:
        while True:
            outcome = self._entries.run(self._store, until_s)
            if outcome == loop.GROW_FLOWS:
                self._store = records.with_flows(self._store, 2 * len(self._store.flow))
            elif outcome == loop.GROW_MEMBERS:
                size = 2 * len(self._store.member) + int(self._state["wanted"])
                self._store = records.with_members(self._store, size)
            else:
                break
        if outcome == loop.STUCK:
            raise StallExplanation(self._store, self._batches, self._names).deadlock()
        if outcome == loop.SPENT:
            budget = int(self._state["event_budget"])
            raise EventBudgetSpent(
                f"{budget} events are spent at {self.now} s and {self.unfinished} activities have not ended; "
                "a program that submits without end makes no progress, or the budget is too small"
            )

    def _make_room(self) -> None:
        self._store = store = self._ranges.enlarged(self._store)
        self._pending, self._watched = store.batch["pending"], store.batch["watched"]
