"""In which order the steps of a program can run, and what orders them: threadblocks, dependencies, messages."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

from controller.collectives.errors import BadCall
from controller.collectives.msccl.program import RECEIVES, SENDS, MscclStep, Program, Threadblock

Place = tuple[int, int, int]
"""(rank, threadblock, step)."""


@dataclass(frozen=True, slots=True)
class Placed:
    """A step with what it waits for.

    Attributes:
        place: where it stands.
        block: its threadblock.
        step: itself.
        after: indices of earlier steps that must have ended.
        message: index of the step whose message it receives; -1 when it receives none.
    """

    place: Place
    block: Threadblock
    step: MscclStep
    after: tuple[int, ...]
    message: int


def said(program: Program, place: Place) -> str:
    """``rank 2, threadblock 0, step 3 (line 17)``."""
    rank, number, index = place
    block = next(block for block in program.ranks[rank] if block.number == number)
    return f"rank {rank}, threadblock {number}, step {index} (line {block.steps[index].line})"


def ordered(program: Program) -> tuple[Placed, ...]:
    """Every step, after everything that it waits for.

    Raises:
        BadCall: a step without its peer, a dependency on nothing, a message of another size, steps that wait for
            each other, or messages that nobody receives; says rank, threadblock and step.
    """
    found: list[Placed] = []
    index_of: dict[Place, int] = {}
    waiting: dict[tuple[int, int, int], deque[int]] = {}
    next_step = {(rank, block.number): 0 for rank, block in _blocks(program)}
    blocks = {(rank, block.number): block for rank, block in _blocks(program)}
    _check(program, blocks)
    moved = True
    while moved:
        moved = False
        for (rank, number), block in blocks.items():
            while next_step[rank, number] < len(block.steps):
                step = block.steps[next_step[rank, number]]
                place = (rank, number, step.number)
                after: dict[int, None] = {}
                if step.number:
                    after[index_of[rank, number, step.number - 1]] = None
                if step.waits_for is not None:
                    earlier = index_of.get((rank, *step.waits_for))
                    if earlier is None:
                        break
                    after[earlier] = None
                message = -1
                if step.type in RECEIVES:
                    arrived = waiting.get((block.receive, rank, block.channel))
                    if not arrived:
                        break
                    message = arrived.popleft()
                    sent = found[message].step
                    if sent.count != step.count:
                        raise BadCall(
                            f"{program.path}: {said(program, place)} receives {step.count} chunks, and "
                            f"{said(program, found[message].place)} sends {sent.count}"
                        )
                    after[message] = None
                index_of[place] = len(found)
                if step.type in SENDS:
                    waiting.setdefault((rank, block.send, block.channel), deque()).append(len(found))
                found.append(Placed(place, block, step, tuple(sorted(after)), message))
                next_step[rank, number] += 1
                moved = True
    for (rank, number), block in blocks.items():
        if next_step[rank, number] < len(block.steps):
            step = block.steps[next_step[rank, number]]
            raise BadCall(
                f"{program.path}: {said(program, (rank, number, step.number))} can never run: {_why(step, block)}"
            )
    for left in waiting.values():
        if left:
            raise BadCall(f"{program.path}: {said(program, found[left[0]].place)} sends what no rank receives")
    return tuple(found)


def _blocks(program: Program) -> Iterator[tuple[int, Threadblock]]:
    for rank, blocks in enumerate(program.ranks):
        for block in blocks:
            yield rank, block


def _check(program: Program, blocks: dict[tuple[int, int], Threadblock]) -> None:
    """Peers and dependencies that there are not."""
    for (rank, number), block in blocks.items():
        for step in block.steps:
            place = (rank, number, step.number)
            if step.type in SENDS and block.send < 0:
                raise BadCall(
                    f"{program.path}: {said(program, place)} sends, and its threadblock has no rank to send to"
                )
            if step.type in RECEIVES and block.receive < 0:
                raise BadCall(
                    f"{program.path}: {said(program, place)} receives, and its threadblock has no rank to do so from"
                )
            if step.waits_for is not None:
                other = blocks.get((rank, step.waits_for[0]))
                if other is None or step.waits_for[1] >= len(other.steps):
                    raise BadCall(
                        f"{program.path}: {said(program, place)} waits for step {step.waits_for[1]} of threadblock "
                        f"{step.waits_for[0]}, which rank {rank} does not have"
                    )


def _why(step: MscclStep, block: Threadblock) -> str:
    causes = []
    if step.waits_for is not None:
        causes.append(f"it waits for step {step.waits_for[1]} of threadblock {step.waits_for[0]}")
    if step.type in RECEIVES:
        causes.append(f"it waits for a message of rank {block.receive} on channel {block.channel}")
    return " and ".join(causes)
