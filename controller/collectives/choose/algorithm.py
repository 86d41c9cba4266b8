"""The fastest algorithm and protocol for one call of a collective.

Every algorithm of the collective is timed with every protocol of the topology, whole; the three fastest are then timed
with their chunks cut into pieces too. Nothing is estimated: a candidate is a run of its plan on the virtual executor.
Libraries choose among fewer: NCCL has rings, trees and reduction in the switch, so its own time for a small message may
well be above that of the fastest algorithm here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from controller.collectives.call import Call
from controller.collectives.choose.ranking import FINALISTS, PIECES, ranked
from controller.collectives.errors import BadCall
from controller.collectives.measure.calls import MeasuredCall, measure, prepare
from controller.collectives.measure.explain import StepSummary, steps_of
from controller.collectives.protocol import Protocol, as_seen, protocols_of, suits
from controller.errors import DeviceUnreachable, LinkFailed
from controller.execute.outcome import Outcome
from controller.topology.schema import Topology

FINE_PIECES = (16, 32)
"""Numbers that are tried, too, where loads and stores go through the switch: each pays the wire alone."""

BUSY = 0.5
"""Share of the time above which a resource counts as what bounds a call."""


@dataclass(frozen=True, slots=True)
class AlgorithmChoice:
    """The fastest candidate.

    Attributes:
        best: with its time.
        others: the fastest of every other pair of algorithm and protocol, in order of time.
        bound: the busiest resource and its share of the time; None when nothing was busy.
        steps: what bounds each kind of step of the best.
        why: in words, where it was no comparison of times; empty otherwise.
        link_changes: links that failed, slowed down or came back during the best, as a virtual run reports them.
        left_out: candidates that could not run, as ``name: why``.
    """

    best: MeasuredCall
    others: tuple[MeasuredCall, ...]
    bound: tuple[str, float] | None
    steps: tuple[StepSummary, ...]
    why: str = ""
    link_changes: tuple[Mapping[str, Any], ...] = ()
    left_out: tuple[str, ...] = ()

    @property
    def reason(self) -> str:
        """Why, in one line."""
        if self.why:
            return self.why
        if self.bound is None or self.bound[1] < BUSY:
            why = "latency counts"
        else:
            why = f"{self.bound[0]} is busy {self.bound[1]:.0%} of the time"
        if not self.others or not self.best.time_s:
            return why
        other = self.others[0]
        assert other.time_s is not None
        slower = other.time_s / self.best.time_s - 1
        return f"{why}; next is {other.algorithm}/{other.protocol}, {slower:.1%} slower"


def choose(
    topology: Topology, call: Call, names: Sequence[str], protocols: Sequence[Protocol], pieces: int | None = None,
    *, explains: bool = True,
) -> AlgorithmChoice:  # fmt: skip
    """The fastest of `names` with one of `protocols`.

    Args:
        topology: as declared.
        call: what to do; its pieces are replaced.
        names: algorithms that may be taken.
        protocols: that may be used.
        pieces: exactly so many; None for the best number.
        explains: whether the kinds of step of the fastest are found as well, which takes as long as timing it.

    Raises:
        BadCall: none of the candidates fits into memory or can run on the group.
        LinkFailed, DeviceUnreachable: all of them stand still on a link or device that failed.
    """
    declared = protocols_of(topology)
    seen = {protocol.name: as_seen(topology, call.group, protocol) for protocol in protocols}
    failed: list[str] = []
    stalled: list[LinkFailed | DeviceUnreachable] = []

    def run(name: str, protocol: Protocol, cut: int) -> tuple[MeasuredCall, Outcome] | None:
        cut_call = replace(call, pieces=cut)
        try:
            entry = prepare(cut_call, name, protocol)
        except BadCall as error:
            if len(names) == 1:
                raise
            failed.append(f"{name}: {error}")
            return None
        try:
            outcome = measure(seen[protocol.name], entry)
        except (LinkFailed, DeviceUnreachable) as error:
            stalled.append(error)
            failed.append(f"{name}: {error}")
            return None
        if entry.time_s is None:
            failed.append(f"{name}: {outcome.ended}")
            return None
        return entry, outcome

    def cuts(place: int, protocol: Protocol) -> Sequence[int]:
        if protocol.algorithms:
            return (*PIECES, *FINE_PIECES)
        return PIECES if place < FINALISTS else ()

    pairs = [(name, protocol) for name in names for protocol in protocols if suits(protocol, name, declared)]
    fastest = ranked(pairs, run, lambda found: found[0].time_s or 0.0, call, pieces, cuts)
    if not fastest and stalled:
        raise stalled[0]
    if not fastest:
        # Every protocol of an algorithm is refused alike.
        why = "; ".join(dict.fromkeys(failed))
        raise BadCall(f"no algorithm can run {call.collective} of {call.count} {call.dtype}: {why}")
    best, outcome = fastest[0]
    bound = next(((use.name, use.busy_ratio) for use in outcome.resources if use.kind != "queue"), None)
    steps = steps_of(seen[best.protocol], best, outcome) if explains else ()
    changes = outcome.link_changes
    others = tuple(entry for entry, _ in fastest[1:])
    return AlgorithmChoice(best, others, bound, steps, link_changes=changes, left_out=tuple(dict.fromkeys(failed)))
