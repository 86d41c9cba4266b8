"""A fixed batch: prompts, then one token a step for all sequences, value for value what the plain model gives.

The prompt runs on the model's GPUs, each batch on a replica of its own turn, and its keys and values go to whoever
attends, layer by layer. The paper has other nodes do this; here it is so that a run starts from a prompt.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from controller.collectives.all_reduce_direct import HOPS
from controller.collectives.software import all_reduced_bytes, fastest, software_of
from controller.errors import BadWorkload
from controller.models.scenario import Scenario
from controller.models.sharded import Sharded
from controller.models.sharding import Sharding
from controller.offload.attention_side import LocalSide, RemoteSide, Side
from controller.offload.generation import BoundPlan
from controller.offload.gpu_model import PREFILL_TOKENS, rows_view
from controller.offload.network_stack import NetworkStack
from controller.offload.piece_cache import FixedCache, check_whole_context
from controller.offload.pieces import HeadPiece, pieces_of
from controller.offload.rotation import StaggeredBatch, emit_head, emit_rotation, ids_on
from controller.offload.scratch import Scratch
from controller.plan.ops import Buffer, Plan
from controller.plan.ranges import even_ranges
from controller.plan.script import Script, Source, Value
from controller.plan.size import Affine, symbol
from controller.plan.value import Place
from controller.program.run import Run
from node.hardware.operation import ITEM_BYTES


@dataclass(frozen=True, slots=True)
class Pools:
    """Who does what, and how many batches follow each other.

    Attributes:
        replicas: devices of every model replica, each of as many.
        memories: devices that hold the KV cache; empty where every GPU attends over its own heads.
        batches: that run concurrently.
        overlap: q is sent ahead of k and v.
        stack: name of the network stack.
    """

    replicas: tuple[tuple[str, ...], ...]
    memories: tuple[str, ...] = ()
    batches: int = 1
    overlap: bool = True
    stack: str = ""

    @property
    def groups(self) -> tuple[str, ...]:
        """Which of q, k and v are one matrix: all that is needed at the same time."""
        return ("q", "kv") if self.memories and self.overlap else ("qkv",)


class FixedBatch:
    """Decoder over tensor-parallel replicas, with attention local or remote."""

    def __init__(self, scenario: Scenario, pools: Pools, *, prefill_elsewhere: bool = False) -> None:
        """Allocates nothing.

        Args:
            scenario: the workload.
            pools: who does what.
            prefill_elsewhere: the prompts' keys and values are there when time starts.

        Raises:
            BadWorkload: fewer sequences than concurrent batches, more devices than heads, or an effective context.
        """
        check_whole_context(scenario)
        if scenario.batch < pools.batches:
            raise BadWorkload(
                f"{pools.batches} batches follow each other and there are {scenario.batch} sequences; raise --batch "
                f"or lower --stagger"
            )
        self.scenario, self._elsewhere = scenario, prefill_elsewhere
        shape, dtype, batch, first = scenario.shape, scenario.dtype, scenario.batch, pools.replicas[0]
        home, item, software = first[0], ITEM_BYTES[dtype], software_of(scenario.topology, first, HOPS)
        self.replicas = [Sharding(shape, devices, dtype, pools.groups) for devices in pools.replicas]
        self.pieces = pieces_of(shape, len(first), pools.memories or first)
        self.row_ranges = even_ranges(batch, pools.batches)
        counts = [stop - start for start, stop in self.row_ranges]
        self.cache = FixedCache(shape, self.pieces, counts, scenario.max_tokens, scenario.kv_dtype)
        self.next_ids = Buffer(home, "hbm", "next_ids", "int64", (batch,))
        self.logits = Buffer(home, "hbm", "logits", dtype, (batch, shape.vocab))
        self._ids = Buffer(home, "hbm", "prompt_ids", "int64", (batch, scenario.prompt_tokens))
        self._stack = NetworkStack(scenario.topology, pools.stack) if pools.memories else None
        side: Side
        if self._stack is None:
            side = LocalSide(shape, self.pieces, self.cache)
        else:
            side = RemoteSide(shape, self.pieces, self.cache, self._stack, overlap=pools.overlap)
        self._pass_rows = max(1, min(max(counts), PREFILL_TOKENS // scenario.prompt_tokens))
        prompt_bytes = self._pass_rows * scenario.prompt_tokens * shape.hidden * item
        self._prompt_software = fastest(software, all_reduced_bytes(prompt_bytes, len(first)))
        self._scratch, self._prompt_scratch = Scratch("scratch"), Scratch("prompt")
        s = Script("decode step", self._scratch)
        staggered = [
            StaggeredBatch(self.next_ids.rows(*rows), self.logits.rows(*rows), symbol("position"))
            for rows in self.row_ranges
        ]
        summed = all_reduced_bytes(max(counts) * shape.hidden * item, len(first))
        emit_rotation(s, self.replicas, staggered, side, fastest(software, summed))
        self._step = s.plan()

    def place(self, run: Run) -> None:
        self._run = run
        for sharding in self.replicas:
            sharding.place(run, self.scenario.weights)
        ids = self.scenario.prompt_ids
        run.place(self._ids, None if ids is None else np.asarray(ids, np.int64), written=True)
        if self._elsewhere and run.live:
            raise BadWorkload("prompts from elsewhere have no values: remove --live or --prefill elsewhere")
        run.place(self.next_ids, written=self._elsewhere)
        run.place(self.logits, written=self._elsewhere)
        self.cache.place(run)

    def step(self, generated: int) -> BoundPlan:
        bindings = self.cache.bindings(self.scenario.prompt_tokens + generated)
        return BoundPlan(self._step, bindings, self._scratch)

    # -- prompts -------------------------------------------------------------------------------------------------------

    def prefill(self) -> Iterator[BoundPlan]:
        if self._elsewhere:  # contents are unknown, so this is for the virtual clock
            return
        done = 0
        plans: dict[tuple[int, int], Plan] = {}
        passes = [
            (lane, rows) for lane, (start, stop) in enumerate(self.row_ranges) for rows in self._parts(stop - start)
        ]
        for lane, rows in dict.fromkeys(passes):
            plans[lane, rows] = self._prompt_plan(lane, rows)
        row, before = 0, 0
        for lane, rows in passes:
            row = 0 if lane != before else row
            yield BoundPlan(plans[lane, rows], {"row": row}, self._prompt_scratch)
            row, before, done = row + rows, lane, done + rows
            self._run.progress(done, self.scenario.batch, "prefill")
        self._prompt_scratch.release(self._run)

    def _parts(self, count: int) -> list[int]:
        """Rows of each pass over the prompts of one batch."""
        whole, rest = divmod(count, self._pass_rows)
        return [self._pass_rows] * whole + ([rest] if rest else [])

    def _prompt_plan(self, lane: int, rows: int) -> Plan:
        s, row = Script("prompt", self._prompt_scratch), symbol("row")
        here = Sharded(self.replicas[lane % len(self.replicas)], self._prompt_software)
        whole = Affine("row", 1, self.row_ranges[lane][0])
        x = here.embed(s, ids_on(s, here, rows_view(self._ids, whole, rows)), 0)
        for layer in range(self.scenario.shape.layers):
            queries, keys = here.queries(s, layer, x, 0), here.keys(s, layer, 0)
            # What is on its way to memory devices keeps its bytes until the next layer's prompt takes them.
            with s.staging("prompt_kv", 0, turns=1):
                attention = [
                    self._prompt_attention(s, here, rank, layer, (queries[rank], *keys[rank]), lane, row)
                    for rank in here.ranks
                ]
            x = here.finish(s, layer, x, attention)
        emit_head(s, here, x, rows_view(self.logits, whole, rows), rows_view(self.next_ids, whole, rows))
        return s.plan()

    def _prompt_attention(
        self, s: Script, here: Sharded, rank: int, layer: int, qkv: Sequence[Value], lane: int, row: Affine
    ) -> Value:
        shape, block = self.scenario.shape, here.sharding.layer(layer).blocks[rank]
        mine = [piece for piece in self.pieces if piece.rank == rank]
        by_heads: list[list[Value]] = [[] for _ in mine]
        for whole, group in zip(qkv, (shape.heads // shape.kv_heads, 1, 1), strict=True):
            parts: Sequence[Source] = [whole]
            if len(mine) > 1:
                widths = [piece.kv_heads * group * shape.head_dim for piece in mine]
                parts = s.results("split", whole, makes=[(whole.dtype, (*whole.shape[:-1], width)) for width in widths])
            for found, part in zip(by_heads, parts, strict=True):
                found.append(block.to_heads(s, part))
        results = []
        for piece, (q, k, v) in zip(mine, by_heads, strict=True):
            results.append(block.prefill_attention(s, q, k, v))
            self._store(s, piece, (k, v), layer, lane, row)
        return results[0] if len(mine) == 1 else s.op("concat", *results)

    def _store(self, s: Script, piece: HeadPiece, kv: Sequence[Value], layer: int, lane: int, row: Affine) -> None:
        """A prompt's keys and values to where they stay."""
        rows = kv[0].shape[0]
        assert isinstance(rows, int), "a prompt pass has a number of rows"
        if self._stack is not None:
            memory = Place(piece.memory, "hbm")
            kv = self._stack.send(s, [(part, memory) for part in kv], "prompt kv", (s.count - 1,))
        for source, kept in zip(kv, self.cache.buffers(lane, layer, piece), strict=True):
            s.op("kv_write", source, out=rows_view(kept, row, rows), position=0, tokens=self.scenario.prompt_tokens)
