"""Proves what a program computes, before a byte moves: which inputs every chunk holds, on symbols.

A chunk holds a sum of inputs: how often each (rank, chunk) is in it. Every step is carried out on such sums, in an
order that its own waiting allows; that any other order gives the same is proven by finding, for every two steps that
touch one chunk and of which one writes, that one waits for the other, directly or through others. At the end every
chunk of every output must hold exactly what the collective asks for.
"""

from __future__ import annotations

from collections import Counter

from controller.collectives.errors import BadCall
from controller.collectives.msccl.order import Placed, ordered, said
from controller.collectives.msccl.program import BUFFERS, READS, RECEIVES, WRITES, Program

Sum = Counter[tuple[int, int]]
"""(rank, chunk of its input) to how often it is in the sum."""
Slot = tuple[int, str, int]
"""(rank, buffer, chunk)."""


def prove(program: Program, aliased: bool) -> tuple[Placed, ...]:
    """The steps in an order in which they can run, when they compute what they should.

    Args:
        program: from `parse`.
        aliased: whether input and output are one buffer, as in place.

    Raises:
        BadCall: a chunk that is read before it is written, two steps without an order, or an output that is wrong; says
            rank, chunk and step.
    """
    steps = ordered(program)
    holds: dict[Slot, Sum] = {}
    for rank in range(program.world_size):
        for chunk in range(program.chunks_of("i", rank)):
            holds[slot(program, rank, "i", chunk, aliased)] = Counter({(rank, chunk): 1})
    last: dict[Slot, int] = {}
    readers: dict[Slot, list[int]] = {}
    before = [0] * len(steps)
    sent: dict[int, list[Sum]] = {}
    for index, placed in enumerate(steps):
        for earlier in placed.after:
            before[index] |= before[earlier] | 1 << earlier
        _carry_out(program, steps, index, aliased, holds, sent, last, readers, before[index])
    _check_output(program, steps, aliased, holds, last)
    return steps


def slot(program: Program, rank: int, buffer: str, chunk: int, aliased: bool) -> Slot:
    """Where a chunk lies: in place, input and output are one, and the shorter of the two is a part of the longer."""
    if aliased and buffer != "s":
        own = rank * (program.chunks // program.world_size)
        shorter = {"all_gather": "i", "reduce_scatter": "o"}.get(program.collective)
        return rank, "io", own + chunk if buffer == shorter else chunk
    return rank, buffer, chunk


def _carry_out(
    program: Program,
    steps: tuple[Placed, ...],
    index: int,
    aliased: bool,
    holds: dict[Slot, Sum],
    sent: dict[int, list[Sum]],
    last: dict[Slot, int],
    readers: dict[Slot, list[int]],
    before: int,
) -> None:
    placed = steps[index]
    step, rank = placed.step, placed.place[0]

    def slots(end: tuple[str, int]) -> list[Slot]:
        buffer, first = end
        size = program.chunks_of(buffer, rank)
        if not 0 <= first <= size - step.count:
            raise BadCall(
                f"{program.path}: {said(program, placed.place)} touches chunks {first} to {first + step.count - 1} "
                f"of the {BUFFERS[buffer]}, which has {size}"
            )
        return [slot(program, rank, buffer, first + number, aliased) for number in range(step.count)]

    def settle(where: Slot, others: list[int]) -> None:
        for other in others:
            if other != index and not before >> other & 1:
                raise BadCall(
                    f"{program.path}: {said(program, placed.place)} and {said(program, steps[other].place)} both touch "
                    f"chunk {where[2]} of the {_name(where)} of rank {rank} and neither waits for the other; add a dep"
                )

    def read(where: Slot) -> Sum:
        settle(where, [last[where]] if where in last else [])
        readers.setdefault(where, []).append(index)
        if where not in holds:
            raise BadCall(
                f"{program.path}: {said(program, placed.place)} reads chunk {where[2]} of the {_name(where)}, which "
                f"nothing has written"
            )
        return holds[where]

    sources = [read(where) for where in slots(step.source)] if step.type in READS else []
    targets = slots(step.destination) if step.type in WRITES else []
    arrived = sent[placed.message] if step.type in RECEIVES else []
    results: list[Sum] = []
    if step.type in ("s", "cpy"):
        results = sources
    elif step.type in ("r", "rcs"):
        results = arrived
    elif step.type in ("rrs", "rrc", "rrcs"):
        results = [own + other for own, other in zip(sources, arrived, strict=True)]
    elif step.type == "re":
        results = [own + read(where) for own, where in zip(sources, targets, strict=True)]
    for where, result in zip(targets, results, strict=False):
        settle(where, [*readers.pop(where, []), *([last[where]] if where in last else [])])
        holds[where], last[where] = result, index
    sent[index] = results


def _check_output(
    program: Program, steps: tuple[Placed, ...], aliased: bool, holds: dict[Slot, Sum], last: dict[Slot, int]
) -> None:
    for rank in range(program.world_size):
        for chunk in range(program.chunks_of("o", rank)):
            where = slot(program, rank, "o", chunk, aliased)
            expected, found = _expected(program, rank, chunk), holds.get(where, Counter())
            if found == expected:
                continue
            written = said(program, steps[last[where]].place) if where in last else "no step"
            raise BadCall(
                f"{program.path} does not compute {program.collective}: chunk {chunk} of the output of rank {rank}, "
                f"last written by {written}, {_difference(found, expected)}"
            )


def _expected(program: Program, rank: int, chunk: int) -> Sum:
    size = program.world_size
    share = program.chunks // size
    match program.collective:
        case "all_reduce":
            return Counter({(peer, chunk): 1 for peer in range(size)})
        case "reduce_scatter":
            return Counter({(peer, rank * share + chunk): 1 for peer in range(size)})
        case "all_gather":
            return Counter({(chunk // share, chunk % share): 1})
    return Counter({(chunk // share, rank * share + chunk % share): 1})


def _difference(found: Sum, expected: Sum) -> str:
    missing, extra = expected - found, found - expected
    parts = []
    if missing:
        parts.append(f"lacks {_inputs(missing)}")
    if extra:
        parts.append(f"has {_inputs(extra)} too much")
    return " and ".join(parts)


def _inputs(some: Sum) -> str:
    names = [f"chunk {chunk} of rank {rank}" for rank, chunk in sorted(some)]
    shown = ", ".join(names[:4])
    return shown + (f" and {len(names) - 4} more" if len(names) > 4 else "")


def _name(where: Slot) -> str:
    return {"io": "buffer"}.get(where[1], BUFFERS.get(where[1], where[1]))
