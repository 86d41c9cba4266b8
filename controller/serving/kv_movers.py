"""Who says how long a KV cache takes from one instance to another: the declared fabric, or a published line."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from heapq import heappop, heappush
from typing import Protocol

from controller.execute.virtual import VirtualRun
from controller.plan.ops import Buffer, Plan
from controller.plan.script import Script
from controller.topology.schema import Topology


@dataclass(frozen=True, slots=True)
class KvCopy:
    """Tokens of KV cache on their way.

    Attributes:
        number: of the copy.
        source, destination: numbers of instances.
        tokens: that move.
        request: number of the request that they belong to.
        first_token: of them; those before are there.
    """

    number: int
    source: int
    destination: int
    tokens: int
    request: int = -1
    first_token: int = 0


class KvMover(Protocol):
    """Copies between instances."""

    def start(self, copy: KvCopy, now: float) -> None:
        """Begins a copy."""

    def next_at(self, limit: float) -> float:
        """When the first copy ends, if that is not after `limit`; else infinite [s]."""

    def ended(self, now: float) -> list[int]:
        """Numbers of the copies that have ended until `now`."""


class LineMover:
    """Copies that take a fixed time and a time for every token, none of which disturbs another.

    Attributes:
        start_s, token_s: of a copy [s].
    """

    def __init__(self, token_s: float, start_s: float = 0.0) -> None:
        self.start_s, self.token_s = start_s, token_s
        self._ends: list[tuple[float, int]] = []

    def start(self, copy: KvCopy, now: float) -> None:
        heappush(self._ends, (now + self.start_s + self.token_s * copy.tokens, copy.number))

    def next_at(self, limit: float) -> float:
        return self._ends[0][0] if self._ends and self._ends[0][0] <= limit else float("inf")

    def ended(self, now: float) -> list[int]:
        found = []
        while self._ends and self._ends[0][0] <= now:
            found.append(heappop(self._ends)[1])
        return found


class FabricMover:
    """Copies over the declared links, rank to rank, that share them with each other.

    Not modelled: what a copy takes from the memory of iterations beside it.
    """

    def __init__(self, topology: Topology, groups: Sequence[tuple[str, ...]], token_bytes: Sequence[float]) -> None:
        """Nothing moves.

        Args:
            topology: with the links.
            groups: devices of every instance.
            token_bytes: KV of a token on one rank of every instance [bytes].
        """
        self._run, self._groups, self._token_bytes = VirtualRun(topology), groups, token_bytes
        self._under_way: dict[int, tuple[int, tuple[Buffer, ...]]] = {}
        self._ended: list[int] = []

    def start(self, copy: KvCopy, now: float) -> None:
        run = self._run
        if now > run.now:
            run.engine.run(until_s=now)
        plan, buffers = self._plan(copy)
        for buffer in buffers:
            run.place(buffer, written=True)
        self._under_way[run.submit(plan).number] = copy.number, buffers

    def _plan(self, copy: KvCopy) -> tuple[Plan, tuple[Buffer, ...]]:
        """Every rank of the source sends the heads that a rank of the destination has."""
        source, to = self._groups[copy.source], self._groups[copy.destination]
        pieces = max(len(source), len(to))
        nbytes = max(1, round(copy.tokens * self._token_bytes[copy.source] * len(source) / pieces))
        script, buffers = Script(f"kv {copy.number}"), []
        for piece in range(pieces):
            ends = source[piece * len(source) // pieces], to[piece * len(to) // pieces]
            here, there = (
                Buffer(device, "hbm", f"kv{copy.number}.{piece}.{side}", "uint8", (nbytes,))
                for device, side in zip(ends, ("from", "to"), strict=True)
            )
            script.move(here.view(), there.view(), "kv")
            buffers += [here, there]
        return script.plan(), tuple(buffers)

    def next_at(self, limit: float) -> float:
        if self._ended:
            return self._run.now
        if not self._under_way:
            return float("inf")
        tickets = list(self._under_way)
        ended = self._run.engine.run(tickets=tickets, until_s=max(limit, self._run.now))
        for done in self._run.advance(ended) if ended else ():
            number, buffers = self._under_way.pop(done.ticket.number)
            for buffer in buffers:
                self._run.release(buffer)
            self._ended.append(number)
        return self._run.now if self._ended else float("inf")

    def ended(self, now: float) -> list[int]:
        found, self._ended = self._ended, []
        return found
