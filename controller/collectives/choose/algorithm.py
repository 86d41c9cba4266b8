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
from controller.collectives.errors import BadCall
from controller.collectives.measure.calls import MeasuredCall, measure, prepare
from controller.collectives.measure.explain import StepSummary, steps_of
from controller.collectives.protocol import Protocol, as_seen, protocols_of, suits
from controller.errors import DeviceUnreachable, LinkFailed
from controller.execute.outcome import Outcome
from controller.topology.schema import Topology

PIECES = (4, 8)
"""Numbers of pieces that are tried besides one."""

FINE_PIECES = (16, 32)
"""Numbers that are tried, too, where loads and stores go through the switch: each pays the wire alone."""

SMALLEST_PIECE_BYTES = 4096
"""A chunk is not cut into pieces below this size; assumed: a page."""

FINALISTS = 3
"""How many of the whole candidates are tried in pieces; those through a switch are all, as they gain most."""

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
    topology: Topology, call: Call, names: Sequence[str], protocols: Sequence[Protocol], pieces: int | None = None
) -> AlgorithmChoice:
    """The fastest of `names` with one of `protocols`.

    Args:
        topology: as declared.
        call: what to do; its pieces are replaced.
        names: algorithms that may be taken.
        protocols: that may be used.
        pieces: exactly so many; None for the best number.

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

    whole = [
        (found, name, protocol)
        for name in names
        for protocol in protocols
        if suits(protocol, name, declared)
        and (found := run(name, protocol, 1 if pieces is None else pieces)) is not None
    ]
    if not whole and stalled:
        raise stalled[0]
    if not whole:
        # Every protocol of an algorithm is refused alike.
        why = "; ".join(dict.fromkeys(failed))
        raise BadCall(f"no algorithm can run {call.collective} of {call.count} {call.dtype}: {why}")
    whole.sort(key=lambda item: item[0][0].time_s or 0.0)
    fastest = [found for found, _, _ in whole]
    if pieces is None:
        smallest = call.count * call.item_bytes / call.world_size
        for rank, (_, name, protocol) in enumerate(whole):
            if rank >= FINALISTS and not protocol.algorithms:
                continue
            for cut in (*PIECES, *FINE_PIECES) if protocol.algorithms else PIECES:
                if smallest / cut >= SMALLEST_PIECE_BYTES:
                    found = run(name, protocol, cut)
                    if found is not None and (found[0].time_s or 0.0) < (fastest[rank][0].time_s or 0.0):
                        fastest[rank] = found
        fastest.sort(key=lambda item: item[0].time_s or 0.0)
    best, outcome = fastest[0]
    bound = next(((use.name, use.busy_ratio) for use in outcome.resources if use.kind != "queue"), None)
    steps = steps_of(seen[best.protocol], best, outcome)
    changes = outcome.link_changes
    others = tuple(entry for entry, _ in fastest[1:])
    return AlgorithmChoice(best, others, bound, steps, link_changes=changes, left_out=tuple(dict.fromkeys(failed)))
