"""Virtual time: activities that share resources max-min fairly, as events over arrays.

**The model is fluid.** An activity has an amount of work, a rate limit, and a weight on each resource that it loads:
what one unit of its rate takes of that resource. At every instant the rates are the max-min fair ones: no rate can be
raised without lowering one that is not higher. It is the rates that are fair, not what they take; a read and a write
on a simplex port run at the same bytes/s, whatever share of the port each needs for that.

**Latency is paid first.** An activity starts, waits for its latency, and only then loads its resources, at full
strength until its work is done. This is a simplification: a real message is already on its first link
while its last bit is not yet sent, so messages that pay their latency at the same time would meet on that link earlier
than they do here. It is exact for whoever shares nothing, and the error is small where latencies are short beside the
transfers.

**Queues start in order.** The activities of a queue start strictly in the order of submission, over all batches, and no
more of them at once than it has slots. One occupies its slot from its start to its end. If the first may not start yet,
those behind it wait too. In a pipelined queue, such as a connection whose messages arrive in order, latency
runs from when the dependencies of an activity have ended: one that stood behind others flows as soon as those have, if
its latency has passed by then.

**Life of an activity**: its dependencies have ended -> its turn in its queue -> start -> latency -> flow -> end.
Without work it ends after the latency; without both, at the instant it starts. `Engine.cancel` ends it wherever it
is.

**Order of events.** Everything that happens at one instant happens together: the present moves to the time of the
next event, all events of that time (within four units in the last place, which is how far apart rounding puts equal
instants) are taken from the calendar, whoever is released by them starts, and only then rates are solved again, once.
Since a queue goes by order of submission and rates do not depend on any order, the order within an instant decides
nothing. Two runs of one program are equal to the last bit. (Another order of declaration sums up in another order:
equal to rounding. A closed loop of many flows is chaotic, so there such a difference may grow.)

**Three parts**: `loop` is the state machine, `solver` finds rates, `membership` and `heaps` keep who is where. All of
it is compiled by numba into three entries (`entries`) that work on record arrays (`records`); there is no Python
object per activity. `Engine` is the face, and grows the arrays when an entry says that one is full.

**Why a solve is cheap and exact.** Every flow is frozen by its own limit or by one resource, its group: a full one,
on which no member is faster. Rates with this property are the max-min fair ones. `solver` says how few flows are
picked when something changes, and why the property holds for all the others afterwards. Three more facts keep an
event cheap:

- *All flows of a group have the same rate.* So a group has one virtual clock, the work that each of its flows has
  done since it was empty, and a flow ends when that clock reaches a mark that was fixed when it joined. A new rate
  for a thousand flows is one multiplication and one entry in the calendar, as in fair queueing. The clock goes back
  to zero when the group is empty, and when a flow joins that is a thousand times shorter than what the clock shows,
  so that marks stay precise.
- *A resource that freezes nobody need not be looked at* before it is overdrawn. Solving without it and checking what
  was given away in the end is enough: if it is not overdrawn then the rates found are the fair ones.
- *Levels are carried over.* What all members of a resource take, and a bound on the rate of those that others freeze,
  are kept between solves, and summed anew before rounding can show. Nothing walks over the members of a resource that
  a picked flow only passes.

Levels closer than 1e-12 of each other count as one. That keeps flows that are alike in step, at an error far below the
1e-9 to which the engine equals its twin in the tests.

**Guards.** An end that is predicted for now is taken now, so no flow can be left with a crumb that no longer moves the
clock. A budget of events bounds a program that makes no progress. When activities are left and no event is,
`EngineDeadlock` names the failed resources and who waits for whom.
"""

from controller.engine.activities import Activities
from controller.engine.deadlock import EngineNames
from controller.engine.engine import Engine
from controller.engine.errors import (
    BadActivities,
    BadQueue,
    BadResource,
    EngineDeadlock,
    EngineError,
    EventBudgetSpent,
    TimeReversed,
    UnfinishedBatch,
    UnknownTicket,
)

__all__ = [
    "Activities",
    "BadActivities",
    "BadQueue",
    "BadResource",
    "EngineDeadlock",
    "Engine",
    "EngineError",
    "EventBudgetSpent",
    "EngineNames",
    "TimeReversed",
    "UnfinishedBatch",
    "UnknownTicket",
]
