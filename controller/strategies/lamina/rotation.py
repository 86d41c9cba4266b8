"""Concurrent batches that take turns on replicas of the model: one decode step of all of them.

With n batches there are n - 1 replicas (one with n = 1 or 2). Slice k of batch j, the part of the model between
attention number k - 1 and attention number k, runs on replica (j + k) mod (n - 1), so that a replica finds the next
batch's slice ready while the last one's attention is under way; all batches share all memory devices. The residual
stream moves to the next replica while attention goes on; attention's result goes there directly.

Ops are emitted slice by slice in the order of the batches, which is the order of every in-order queue.

Differs from the paper: all batches begin their token together and the step ends with the last of them, so that the
rotation fills and drains once a token (one slice of eighty).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from controller.collectives.exchange import Software
from controller.plan.build import PlanBuilder
from controller.plan.ops import Buffer, View
from controller.plan.size import Size
from controller.program.run import Run
from controller.strategies.lamina.ranks import RankLane
from controller.strategies.lamina.shards import Shards
from controller.strategies.lamina.sides import Side


@dataclass(frozen=True, slots=True)
class Turn:
    """One of the batches that take turns.

    Attributes:
        rows: sequences; may be open.
        most_rows: at most.
        ids: token ids of its sequences (rows), on the first device: read at the start and replaced at the end.
        logits: of the step (rows, vocab), there too.
    """

    rows: Size
    most_rows: int
    ids: View
    logits: View


class Rotation:
    """The lanes of every batch on every replica, and the step over them."""

    def __init__(
        self, replicas: Sequence[Shards], turns: Sequence[Turn], library: Software, position: Sequence[Size]
    ) -> None:
        """Args are the replicas, the batches, how their ranks add up, and the position of each batch's new token."""
        self.replicas, self.turns, self._position = tuple(replicas), tuple(turns), tuple(position)
        self.layers = replicas[0].shape.layers
        self.lanes = [
            [RankLane(shards, f"lane{lane}", turn.rows, turn.most_rows, library) for shards in replicas]
            for lane, turn in enumerate(turns)
        ]
        shape, dtype = replicas[0].shape, replicas[0].dtype
        self._away = {
            (lane, number): (
                Buffer(shards.devices[0], "hbm", f"lane{lane}.away_ids", "int64", (turn.most_rows,)),
                Buffer(shards.devices[0], "hbm", f"lane{lane}.away_logits", dtype, (turn.most_rows, shape.vocab)),
            )
            for lane, turn in enumerate(turns)
            for number, shards in enumerate(replicas)
            if number
        }

    def place(self, run: Run) -> None:
        """Scratch of every lane."""
        for lane in self.lanes:
            for here in lane:
                for buffer in here.buffers:
                    run.place(buffer, written=True)
        for pair in self._away.values():
            for buffer in pair:
                run.place(buffer)

    def emit(self, build: PlanBuilder, side: Side, active: int, library: Software) -> None:
        """One token of the first `active` batches."""
        for here in (each for lanes in self.lanes for each in lanes):
            here.library = library
        for number in range(self.layers + 1):
            for lane in range(active):
                self._slice(build, side, lane, number)

    def on(self, lane: int, number: int) -> int:
        """The replica of slice `number` of batch `lane`."""
        return (lane + number) % len(self.replicas)

    def _slice(self, build: PlanBuilder, side: Side, lane: int, number: int) -> None:
        at = self.on(lane, number)
        here = self.lanes[lane][at]
        if number == 0:
            here.embed(build, self._ids(build, lane, here), self._position[lane])
        else:
            side.collect(build, lane, here)
            here.finish_layer(build, number - 1)
        if number == self.layers:
            self._end(build, lane, at, here)
            return
        there = self.lanes[lane][self.on(lane, number + 1)]
        side.attend(build, lane, number, here, there, self._position[lane])
        if there is not here:
            for rank in range(here.shards.world):
                build.transfer(here.x(rank), there.x(rank), label="next replica")

    def _ids(self, build: PlanBuilder, lane: int, here: RankLane) -> list[View]:
        kept = self.turns[lane].ids
        found: list[View] = []
        for rank, device in enumerate(here.shards.devices):
            if device == kept.buffer.device:
                found.append(kept)
            else:
                build.transfer(kept, here.ids(rank), label="ids")
                found.append(here.ids(rank))
        return found

    def _end(self, build: PlanBuilder, lane: int, at: int, here: RankLane) -> None:
        turn = self.turns[lane]
        if not at:
            here.head(build, turn.logits, turn.ids)
            return
        ids, logits = self._away[lane, at]
        shown = View(logits, 0, (turn.rows, logits.shape[1])), View(ids, 0, (turn.rows,))
        here.head(build, *shown)
        build.transfer(shown[0], turn.logits, label="logits")
        build.transfer(shown[1], turn.ids, label="ids")
