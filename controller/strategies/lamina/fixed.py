"""A fixed batch: prompts, then one token a step for all sequences, value for value what the plain model gives.

The prompt runs on the model's GPUs, each batch on a replica of its own turn, and its keys and values go to whoever
attends, layer by layer. The paper has other nodes do this; here it is so that a run starts from a prompt.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from controller.collectives.all_reduce_direct import HOPS
from controller.collectives.software import all_reduced_bytes, fastest, software_of
from controller.errors import BadWorkload
from controller.models.scenario import Scenario
from controller.offload.generation import BoundPlan
from controller.plan.build import PlanBuilder
from controller.plan.ops import Buffer, Plan, View
from controller.plan.ranges import even_ranges
from controller.plan.size import Affine, symbol
from controller.program.run import Run
from controller.strategies.lamina.cache import FixedCache
from controller.strategies.lamina.network import NetworkStack
from controller.strategies.lamina.options import Pools, StreamOptions
from controller.strategies.lamina.ranks import RankLane
from controller.strategies.lamina.rotation import Rotation, Turn
from controller.strategies.lamina.shards import Piece, Shards, pieces_of
from controller.strategies.lamina.sides import LocalSide, RemoteSide, Side
from controller.strategies.placement import PREFILL_TOKENS, rows_view
from node.hardware.operation import ITEM_BYTES


class FixedBatch:
    """An `OffloadedDecoder` over tensor-parallel replicas, with attention local or remote."""

    def __init__(self, scenario: Scenario, pools: Pools) -> None:
        """Args are the workload and who does what; without memory devices every GPU attends over its own heads.

        Raises:
            BadWorkload: fewer sequences than concurrent batches, or more devices than heads.
        """
        if scenario.batch < pools.batches:
            raise BadWorkload(
                f"{pools.batches} batches take turns and there are {scenario.batch} sequences; raise --batch or lower "
                f"--stagger"
            )
        self.scenario, self.pools = scenario, pools
        self._elsewhere = StreamOptions.of(scenario.options).prefill == "elsewhere"
        shape, dtype, batch = scenario.shape, scenario.dtype, scenario.batch
        self.replicas = [Shards(shape, devices, dtype, pools.groups) for devices in pools.replicas]
        first = pools.replicas[0]
        home = first[0]
        self.pieces = pieces_of(shape, len(first), pools.memories or first)
        self.row_ranges = even_ranges(batch, pools.batches)
        counts = [stop - start for start, stop in self.row_ranges]
        self.cache = FixedCache(shape, self.pieces, counts, scenario.max_tokens, dtype)
        self.next_ids = Buffer(home, "hbm", "next_ids", "int64", (batch,))
        self.logits = Buffer(home, "hbm", "logits", dtype, (batch, shape.vocab))
        self._ids = Buffer(home, "hbm", "prompt_ids", "int64", (batch, scenario.prompt_tokens))
        libraries = software_of(scenario.topology, first, HOPS)
        item = ITEM_BYTES[dtype]
        self.library = fastest(libraries, all_reduced_bytes(max(counts) * shape.hidden * item, len(first)))
        turns = [
            Turn(stop - start, stop - start, self.next_ids.rows(start, stop), self.logits.rows(start, stop))
            for start, stop in self.row_ranges
        ]
        self.rotation = Rotation(self.replicas, turns, self.library, [symbol("position")] * len(turns))
        self._stack: NetworkStack | None = None
        self.side: Side
        if pools.memories:
            self._stack = NetworkStack(scenario.topology, pools.stack)
            self.side = RemoteSide(
                shape, self.pieces, self.cache, dtype, [(count, count) for count in counts], self._stack,
                pools.replicas, overlap=pools.overlap,
            )  # fmt: skip
        else:
            self.side = LocalSide(shape, self.pieces, self.cache, dtype, counts)
        pass_rows = max(1, min(max(counts), PREFILL_TOKENS // scenario.prompt_tokens))
        prompt_bytes = pass_rows * scenario.prompt_tokens * shape.hidden * item
        self._prompt_library = fastest(libraries, all_reduced_bytes(prompt_bytes, len(first)))
        self._pass_rows = pass_rows
        self._passes = {
            (number, rows): RankLane(
                shards, f"prompt{rows}", rows, rows, self._prompt_library, scenario.prompt_tokens
            )
            for number, shards in enumerate(self.replicas)
            for rows in sorted({part for count in counts for part in self._parts(count)}, reverse=True)
        }  # fmt: skip
        self._by_heads = {
            (devices[piece.rank], piece.index, rows): self._prompt_pieces(devices[piece.rank], piece, rows)
            for devices in pools.replicas
            for piece in self.pieces
            for rows in dict.fromkeys(key[1] for key in self._passes)
        }
        self._out = {
            shards.devices[0]: (
                Buffer(shards.devices[0], "hbm", "prompt.away_logits", dtype, (pass_rows, shape.vocab)),
                Buffer(shards.devices[0], "hbm", "prompt.away_ids", "int64", (pass_rows,)),
            )
            for shards in self.replicas[1:]
        }
        self._step = self._step_plan()

    def place(self, run: Run) -> None:
        """See `OffloadedDecoder.place`."""
        self._run = run
        for shards in self.replicas:
            shards.place(run, self.scenario.weights)
        ids = self.scenario.prompt_ids
        run.place(self._ids, None if ids is None else np.asarray(ids, np.int64), written=True)
        if self._elsewhere and run.live:
            raise BadWorkload("prompts from elsewhere have no values; leave --live or --prefill elsewhere away")
        run.place(self.next_ids, written=self._elsewhere)
        run.place(self.logits, written=self._elsewhere)
        self.cache.place(run)

    def prefill(self) -> Iterator[BoundPlan]:
        """See `OffloadedDecoder.prefill`."""
        if self._elsewhere:
            # Contents are unknown, so this is for the virtual clock.
            self._place_step()
            return
        scratch = [buffer for lane in self._passes.values() for buffer in lane.buffers]
        scratch += [buffer for group in self._by_heads.values() for buffer in group]
        scratch += [buffer for pair in self._out.values() for buffer in pair]
        for buffer in scratch:
            self._run.place(buffer, written=True)
        done = 0
        plans: dict[tuple[int, int], Plan] = {}
        for lane, (start, stop) in enumerate(self.row_ranges):
            row = 0
            for rows in self._parts(stop - start):
                if (lane, rows) not in plans:
                    plans[lane, rows] = self._prompt_plan(lane, rows)
                yield BoundPlan(plans[lane, rows], {"row": row})
                row += rows
                done += rows
                self._run.progress(done, self.scenario.batch, "prefill")
        for buffer in scratch:
            self._run.release(buffer)
        self._place_step()

    def _place_step(self) -> None:
        self.rotation.place(self._run)
        self.side.place(self._run)

    def step(self, generated: int) -> BoundPlan:
        """See `OffloadedDecoder.step`."""
        return BoundPlan(self._step, self.cache.bindings(self.scenario.prompt_tokens + generated))

    def _parts(self, count: int) -> list[int]:
        """Rows of each pass over the prompts of one batch."""
        whole, rest = divmod(count, self._pass_rows)
        return [self._pass_rows] * whole + ([rest] if rest else [])

    def _step_plan(self) -> Plan:
        build = PlanBuilder("decode step")
        self.rotation.emit(build, self.side, len(self.row_ranges), self.library)
        return build.plan()

    # -- prompts -------------------------------------------------------------------------------------------------------

    def _prompt_plan(self, lane: int, rows: int) -> Plan:
        build, row = PlanBuilder("prompt"), symbol("row")
        number = lane % len(self.replicas)
        here = self._passes[number, rows]
        whole = Affine("row", 1, self.row_ranges[lane][0])
        asked = rows_view(self._ids, whole, rows)
        ids: list[View] = []
        for rank, device in enumerate(here.shards.devices):
            if device == self._ids.device:
                ids.append(asked)
            else:
                build.transfer(asked, here.ids(rank), label="ids")
                ids.append(here.ids(rank))
        here.embed(build, ids, 0)
        for layer in range(self.scenario.shape.layers):
            queries = here.queries(build, layer, 0)
            keys = here.keys(build, layer, 0)
            for rank in range(here.shards.world):
                self._prompt_attention(build, here, rank, layer, queries[rank], keys[rank], lane, row)
            here.finish_layer(build, layer)
        logits, chosen = rows_view(self.logits, whole, rows), rows_view(self.next_ids, whole, rows)
        away = self._out.get(here.shards.devices[0])
        if away is None:
            here.head(build, logits, chosen)
        else:
            shown = rows_view(away[0], 0, rows), rows_view(away[1], 0, rows)
            here.head(build, *shown)
            build.transfer(shown[0], logits, label="logits")
            build.transfer(shown[1], chosen, label="ids")
        return build.plan()

    def _prompt_attention(
        self, build: PlanBuilder, here: RankLane, rank: int, layer: int, q: View, kv: tuple[View, View], lane: int,
        row: Affine,
    ) -> None:  # fmt: skip
        shape, device = self.scenario.shape, here.shards.devices[rank]
        rows = q.shape[0]
        assert isinstance(rows, int), "a prompt pass has a number of rows"
        mine = [piece for piece in self.pieces if piece.rank == rank]
        groups = {piece.index: self._by_heads[device, piece.index, rows] for piece in mine}
        for part, whole in enumerate((q, *kv)):
            columns = [whole]
            if len(mine) > 1:
                columns = [groups[piece.index][part].view() for piece in mine]
                build.kernel("split", device, [whole], columns)
            for piece, view in zip(mine, columns, strict=True):
                heads = piece.kv_heads * (shape.heads // shape.kv_heads if part == 0 else 1)
                build.kernel("to_heads", device, [view], [groups[piece.index][3 + part]], heads=heads)
        results: list[View] = []
        for piece in mine:
            _, _, _, q_heads, k_heads, v_heads, out, flat, *landing = groups[piece.index]
            build.kernel(
                "prefill_attention", device, [q_heads, k_heads, v_heads], [out],
                scale=shape.attention_scale, window=shape.window(layer),
            )  # fmt: skip
            target = here.attention(rank) if len(mine) == 1 else flat.view()
            build.kernel("from_heads", device, [out], [target])
            results.append(target)
            self._store(build, piece, (k_heads, v_heads), landing, layer, lane, row, rows)
        if len(mine) > 1:
            build.kernel("concat", device, results, [here.attention(rank)])

    def _store(
        self, build: PlanBuilder, piece: Piece, kv: tuple[Buffer, Buffer], landing: Sequence[Buffer], layer: int,
        lane: int, row: Affine, rows: int,
    ) -> None:  # fmt: skip
        """A prompt's keys and values to where they stay."""
        sources = list(kv)
        if self._stack is not None:
            pairs = [(source, target) for source, target in zip(kv, landing, strict=True)]
            self._stack.send(build, pairs, "prompt kv", (build.count - 1,))
            sources = list(landing)
        for source, kept in zip(sources, self.cache.buffers(lane, layer, piece), strict=True):
            build.kernel(
                "kv_write", piece.memory, [source], [rows_view(kept, row, rows)],
                position=0, tokens=self.scenario.prompt_tokens,
            )  # fmt: skip

    def _prompt_pieces(self, device: str, piece: Piece, rows: int) -> tuple[Buffer, ...]:
        """Columns of q, k, v; the same by heads; attention by heads and by columns; and where keys and values land."""
        shape, dtype = self.scenario.shape, self.scenario.dtype
        tokens, dim, group = self.scenario.prompt_tokens, shape.head_dim, shape.heads // shape.kv_heads
        several = sum(other.rank == piece.rank for other in self.pieces) > 1
        prefix = f"prompt{rows}.{piece.index}"

        def columns(name: str, heads: int) -> Buffer:
            extents = (rows, tokens, heads * dim) if several else (0,)
            return Buffer(device, "hbm", f"{prefix}.{name}", dtype, extents)

        def by_heads(where: str, name: str, heads: int) -> Buffer:
            return Buffer(where, "hbm", f"{prefix}.{name}", dtype, (rows, heads, tokens, dim))

        wide, narrow = piece.kv_heads * group, piece.kv_heads
        found = [columns("q", wide), columns("k", narrow), columns("v", narrow)]
        found += [by_heads(device, name, heads) for name, heads in (("qh", wide), ("kh", narrow), ("vh", narrow))]
        found += [by_heads(device, "oh", wide), columns("o", wide)]
        if self._stack is not None:
            # One landing for all replicas would be one buffer; a name each keeps their prompts apart.
            found += [by_heads(piece.memory, f"{device}.{name}", narrow) for name in ("k_in", "v_in")]
        return tuple(found)
