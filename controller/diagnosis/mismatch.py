"""Ranks whose operation differs from that of the others, by majority, whatever the order of the dumps."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from controller.diagnosis.dumps import RankDump, RecordedOp
from controller.diagnosis.telemetry import Communicator

EQUAL_SIZES = ("all_reduce", "broadcast", "reduce", "_all_gather_base", "all_gather", "_reduce_scatter_base",
               "reduce_scatter", "barrier", "allreduce_coalesced")  # fmt: skip
"""Collectives whose ranks all give and get the same sizes; those of an all-to-all may differ."""


@dataclass(frozen=True, slots=True)
class Mismatch:
    """An operation that the ranks do not agree on.

    Attributes:
        ranks: the smaller part; all where the parts are equal, since nobody can say who is wrong.
        others: the rest.
        text: what differs.
    """

    ranks: tuple[int, ...]
    others: tuple[int, ...]
    text: str


def mismatches(dumps: Iterable[RankDump]) -> tuple[Mismatch, ...]:
    """The first operation of each communicator on which its ranks do not agree."""
    shared: dict[tuple[Communicator, int], dict[int, RecordedOp]] = {}
    for dump in sorted(dumps, key=lambda each: each.rank):
        for op in dump.ops:
            if not op.is_p2p:
                shared.setdefault((op.communicator, op.seq), {})[dump.rank] = op
    found: dict[Communicator, Mismatch] = {}
    for (communicator, _), ops in sorted(shared.items(), key=lambda each: (each[0][0], each[0][1])):
        if communicator in found or len(ops) < 2:
            continue
        for what, parts in (("operation", _parts(ops, "what")), ("dtype", _parts(ops, "dtypes"))):
            if len(parts) > 1:
                found[communicator] = _blame(what, parts, ops)
                break
        else:
            if next(iter(ops.values())).what in EQUAL_SIZES and len(parts := _parts(ops, "sizes")) > 1:
                found[communicator] = _blame("size", parts, ops)
    return tuple(found[communicator] for communicator in sorted(found))


def _parts(ops: dict[int, RecordedOp], field: str) -> dict[object, list[int]]:
    parts: dict[object, list[int]] = {}
    for rank, op in ops.items():
        parts.setdefault(getattr(op, field), []).append(rank)
    return parts


def _blame(what: str, parts: dict[object, list[int]], ops: dict[int, RecordedOp]) -> Mismatch:
    most = max(len(ranks) for ranks in parts.values())
    agree = [ranks for ranks in parts.values() if len(ranks) == most]
    odd = sorted(ops) if len(agree) > 1 else sorted(rank for rank in ops if rank not in agree[0])
    op = ops[odd[0]]
    sides = "; ".join(f"{value!r} on ranks {ranks}" for value, ranks in parts.items())
    return Mismatch(
        tuple(odd), tuple(rank for rank in sorted(ops) if rank not in odd), f"another {what} in {op}: {sides}"
    )
