"""The fastest algorithm and protocol over so many ranks that plans are too large: by `controller.collectives.bulk`.

The candidates are those of `choose.algorithm`, as far as they have a bulk form; the others are named.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from controller.collectives.bulk.timing import Bulk, Ground, in_bulk, time_in_bulk
from controller.collectives.call import Call
from controller.collectives.choose.algorithm import AlgorithmChoice
from controller.collectives.choose.ranking import FINALISTS, PIECES, ranked
from controller.collectives.errors import BadCall
from controller.collectives.group import Group
from controller.collectives.measure.calls import MeasuredCall
from controller.collectives.protocol import Protocol, as_seen, protocols_of, suits
from controller.plan.ops import Plan
from controller.topology.schema import Topology

BULK_ABOVE = 128
"""Ranks above which calls are timed in bulk unless told otherwise: the plan of a ring takes seconds there."""

BULK_ABOVE_IF_ALL = 32
"""The same where every algorithm that is asked for has a bulk form, so that none is left out."""


class BulkChooser:
    """Chooses for calls of one group on one topology.

    Args:
        topology: as declared.
        group: the ranks.
        protocols: that may be used.
    """

    def __init__(self, topology: Topology, group: Group, protocols: Sequence[Protocol]) -> None:
        self._topology, self._group, self._protocols = topology, group, tuple(protocols)
        self._declared = protocols_of(topology)
        self._grounds: dict[str, Ground] = {}

    def choose(
        self, call: Call, names: Sequence[str], pieces: int | None = None, protocol: str = ""
    ) -> AlgorithmChoice:
        """The fastest of `names` for a call of this group.

        Args:
            call: what to do; its pieces are replaced.
            names: algorithms that may be taken.
            pieces: exactly so many; None for the best number.
            protocol: the only one to take; "" for any.

        Raises:
            BadCall: none of them can be timed in bulk, fits into memory or can run on the group.
        """
        known = in_bulk(call.collective, names)
        formless = [name for name in names if name not in known]
        left_out = [f"without a bulk form {', '.join(formless)}"] if formless else []

        def run(name: str, by: Protocol, cut: int) -> tuple[float, MeasuredCall, Bulk] | None:
            cut_call = replace(call, pieces=cut)
            try:
                bulk = time_in_bulk(self._ground(by), cut_call, name, by)
            except BadCall as error:
                if len(names) == 1:
                    raise
                left_out.append(f"{name} ({error})")
                return None
            empty = Plan(f"{call.collective} {name} in bulk", (), (), frozenset())
            return bulk.time_s, MeasuredCall(cut_call, name, by.name, empty, bulk.time_s), bulk

        def cuts(place: int, by: Protocol) -> Sequence[int]:
            return PIECES if place < FINALISTS and call.collective != "all_to_all" else ()

        pairs = [
            (name, by)
            for name in known
            for by in self._protocols
            if protocol in ("", by.name) and suits(by, name, self._declared)
        ]
        fastest = ranked(pairs, run, lambda found: found[0], call, pieces, cuts)
        if not fastest:
            reasons = "; ".join(dict.fromkeys(left_out)) or "no protocol suits"
            raise BadCall(
                f"no algorithm can be timed in bulk for {call.collective} of {call.count} {call.dtype} over "
                f"{call.world_size} ranks: {reasons}; with fewer ranks, time plans (--no-bulk)"
            )
        _, best, bulk = fastest[0]
        others = tuple(entry for _, entry, _ in fastest[1:])
        return AlgorithmChoice(best, others, None, (), why=_reason(best, others, bulk, tuple(dict.fromkeys(left_out))))

    def _ground(self, protocol: Protocol) -> Ground:
        if protocol.name not in self._grounds:
            self._grounds[protocol.name] = Ground(as_seen(self._topology, self._group, protocol), self._group)
        return self._grounds[protocol.name]


def _reason(best: MeasuredCall, others: tuple[MeasuredCall, ...], bulk: Bulk, left_out: tuple[str, ...]) -> str:
    """What stands for the best, in one line."""
    ranks = f"{bulk.classes:,} class{'es' * (bulk.classes != 1)} of ranks"
    text = f"{bulk.transfers:,} transfers in bulk, {bulk.rows:,} rows simulated for {ranks}"
    if others and best.time_s:
        other = others[0]
        assert other.time_s is not None
        text += f"; next is {other.algorithm}/{other.protocol}, {other.time_s / best.time_s - 1:.1%} slower"
    return f"{text}; left out: {'; '.join(left_out)}" if left_out else text
