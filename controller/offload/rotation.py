"""Concurrent batches that follow each other over replicas of the model: one decode step of all of them.

With n batches there are n - 1 replicas (one with n = 1 or 2). Slice k of batch j, the part of the model between
attention number k - 1 and attention number k, runs on replica (j + k) mod (n - 1), so that a replica finds the next
batch's slice ready while the last one's attention is under way; all batches share all memory devices. The residual
stream moves to the next replica while attention runs; attention's result goes there directly.

Ops are emitted slice by slice in the order of the batches, which is the order of every in-order queue.

Source: Lamina (arXiv 2405.01814), section 4.3.
Differs from the paper: all batches begin their token together and the step ends with the last of them, so that the
rotation fills and drains once a token (one slice of eighty).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from controller.collectives.exchange import Software
from controller.models.sharded import Sharded
from controller.models.sharding import Sharding
from controller.offload.attention_side import Arrived, Side
from controller.plan.ops import View
from controller.plan.script import Script, Value
from controller.plan.size import Size


@dataclass(frozen=True, slots=True)
class StaggeredBatch:
    """One of the batches that follow each other.

    Attributes:
        ids: token ids of its sequences (rows), on the first device: read at the start and replaced at the end.
        logits: of the step (rows, vocab), there too.
        position: of its new token.
    """

    ids: View
    logits: View
    position: Size


def emit_rotation(
    s: Script, replicas: Sequence[Sharding], batches: Sequence[StaggeredBatch], side: Side, software: Software
) -> None:
    """One token of every batch."""
    models = [Sharded(sharding, software) for sharding in replicas]
    layers, count = replicas[0].shape.layers, len(models)
    streams: list[list[Value]] = [[] for _ in batches]
    arrived: list[Arrived] = [[] for _ in batches]
    for number in range(layers + 1):
        for lane, batch in enumerate(batches):
            s.microbatch = lane
            here, there = models[(lane + number) % count], models[(lane + number + 1) % count]
            if number == 0:
                streams[lane] = here.embed(s, ids_on(s, here, batch.ids), batch.position)
            else:
                streams[lane] = here.finish(s, number - 1, streams[lane], side.collect(s, arrived[lane]))
            x = streams[lane]
            if number == layers:
                emit_head(s, here, x, batch.logits, batch.ids)
                continue
            arrived[lane] = side.attend(s, lane, number, here, there, x, batch.position)
            if there is not here:
                pairs = zip(x, there.places, strict=True)
                streams[lane] = [
                    s.move(stream, place, "next replica", connection="pipeline") for stream, place in pairs
                ]


def ids_on(s: Script, here: Sharded, kept: View) -> list[View | Value]:
    """Token ids on every rank."""
    device = kept.buffer.device
    return [kept if place.device == device else s.move(kept, place, "ids") for place in here.places]


def emit_head(s: Script, here: Sharded, x: Sequence[Value], logits: View, ids: View) -> None:
    """Logits and next tokens of a batch, brought to where they are kept."""
    if here.places[0].device == logits.buffer.device:
        here.head(s, x, logits, ids)
        return
    shown, chosen = here.head(s, x, None, None)
    s.move(shown, logits, "logits")
    s.move(chosen, ids, "ids")
