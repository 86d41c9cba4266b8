"""InstInfer: the whole KV cache and decode attention in computational storage drives, everything else on the GPU.

Paper: "InstInfer: In-Storage Attention Offloading", arXiv 2409.04992; HPCA 2025, doi 10.1109/HPCA61900.2025.00113.
Follows: section IV-A (placement), IV-C (KV groups of 16 tokens, group buffer in drive DRAM), IV-D (layer-wise push of
    the prompt's KV by peer-to-peer DMA, mini-batches that take turns on GPU and drives).
Differs: `sparf.py` adds the paper's sparse attention. The prompt's KV lies in a segment of its own, so that one DMA a
    layer brings it into place. A full group is written to flash in the step that fills it, beside the attention of
    other layers. Where a model has fewer KV heads than there are drives, tokens are spread and partial attentions are
    merged (the paper has one KV head per query head and spreads heads).
Checked by: tests/live/test_generation.py (tokens against the plain run), tests/paper/test_instinfer.py.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from controller.models.scenario import Scenario
from controller.offload.generation import BoundPlan, generate
from controller.plan.build import PlanBuilder
from controller.plan.ops import Buffer, Plan, View
from controller.plan.size import Affine, symbol
from controller.program.run import Program, Run
from controller.strategies.kv_spread import GROUP_TOKENS, KvSpread
from controller.strategies.lane import Lane
from controller.strategies.placement import GpuModel, devices, option_int, rows_view
from node.hardware.operation import ITEM_BYTES


@dataclass(frozen=True, slots=True)
class LayerCache:
    """Keys and values of one layer on one drive: prompt and generated in flash, the open group in DRAM."""

    prompt: tuple[Buffer, Buffer]
    generated: tuple[Buffer, Buffer]
    tail: tuple[Buffer, Buffer]


@dataclass(frozen=True, slots=True)
class Landing:
    """Where one mini-batch arrives on a drive, and where its attention leaves."""

    q: Buffer
    k: Buffer
    v: Buffer
    out: Buffer
    lse: Buffer


@dataclass(frozen=True, slots=True)
class Counterpart:
    """The same on a GPU: the drive's parts of q, k and v on the way out, its attention on the way in."""

    parts: tuple[Buffer, Buffer, Buffer]
    out: Buffer
    lse: Buffer


class InstInfer:
    """Decoder whose KV cache lies in drives; GPU and drives alternate over mini-batches."""

    def __init__(self, scenario: Scenario) -> None:
        self.scenario, self.shape = scenario, scenario.shape
        self.drives = [device.name for device in devices(scenario, "csd", "the KV cache", computes=True)]
        shape = self.shape
        self.spread = KvSpread(shape.heads, shape.kv_heads, len(self.drives), scenario.prompt_tokens)
        self.model = GpuModel(scenario, option_int(scenario, "mini_batches", 2))
        self.next_ids, self.logits = self.model.next_ids, self.model.logits
        self.caches = [[self._cache(layer, drive) for drive in self._every_drive] for layer in range(shape.layers)]
        self.landings = [[self._landing(lane, drive) for drive in self._every_drive] for lane in self._every_lane]
        gpus = self.model.gpus
        self.counterparts = {
            gpu: [[self._counterpart(gpu, lane, drive) for drive in self._every_drive] for lane in self._every_lane]
            for gpu in gpus
        }
        # The prompt's KV of one layer leaves while the next layer computes: two sets of buffers.
        self.outbound = {
            gpu: [[self._outbound(gpu, turn, drive) for drive in self._every_drive] for turn in range(2)]
            for gpu in gpus
        }
        self.token_major = {gpu: [self._token_major(gpu, turn) for turn in range(2)] for gpu in gpus}
        self._steps: dict[tuple[tuple[int, ...], bool], Plan] = {}

    def more_buffers(self) -> Iterator[Buffer]:
        """What a variant keeps for the whole generation, beside keys, values and landings."""
        return iter(())

    def more_prefill_buffers(self) -> Iterator[Buffer]:
        """What a variant needs on the GPUs during the prefill."""
        return iter(())

    @property
    def _every_drive(self) -> range:
        return range(len(self.drives))

    @property
    def _every_lane(self) -> range:
        return range(len(self.model.lanes))

    def place(self, run: Run) -> None:
        """See `OffloadedDecoder.place`."""
        self._run = run
        self.model.place(run)
        for caches in self.caches:
            for cache in caches:
                for buffer in (*cache.prompt, *cache.generated, *cache.tail):
                    if buffer.nbytes:
                        run.place(buffer, written=True)
        for landings in self.landings:
            for landing in landings:
                for buffer in (landing.q, landing.k, landing.v, landing.out, landing.lse):
                    run.place(buffer, written=True)
        for buffer in self.more_buffers():
            if buffer.nbytes:
                run.place(buffer, written=True)
        if len(self.drives) > 1:
            for counterpart in (one for lanes in self.counterparts.values() for drives in lanes for one in drives):
                parts = (counterpart.lse,) if self.spread.by_tokens else counterpart.parts
                for buffer in (counterpart.out, *parts):
                    run.place(buffer, written=True)

    # -- prefill: layer by layer, the KV of a layer leaves while the next one computes --------------------------------

    def prefill(self) -> Iterator[BoundPlan]:
        """See `OffloadedDecoder.prefill`."""
        outbound = [buffer for turns in self.outbound.values() for turn in turns for parts in turn for buffer in parts]
        token_major = [buffer for turns in self.token_major.values() for pair in turns for buffer in pair]
        buffers = [buffer for buffer in (*outbound, *token_major, *self.more_prefill_buffers()) if buffer.nbytes]
        for buffer in buffers:
            self._run.place(buffer, written=True)
        yield from self.model.prefill(self._run, "instinfer", self._emit_prompt)
        for buffer in buffers:
            self._run.release(buffer)

    def _emit_prompt(self, build: PlanBuilder, lane: Lane, row: int | Affine) -> None:
        for layer in range(self.shape.layers):
            q, k, v = lane.attention_inputs(build, layer)
            self._push_prompt(build, lane, layer, (k, v), row)
            attn, _, _ = lane.at(layer).prefill_attention(build, layer, q, k, v)
            lane.finish_layer(build, layer, attn)

    def _push_prompt(
        self, build: PlanBuilder, lane: Lane, layer: int, kv: tuple[View, View], row: int | Affine
    ) -> None:
        """Keys and values of a prompt, by heads, straight into the flash of the drives."""
        gpu = self.model.gpu_of(layer)
        for part, whole in enumerate(kv):
            for drive, piece in self._prompt_pieces(build, lane, layer, part, whole):
                outbound = rows_view(self.outbound[gpu][layer % 2][drive][part], 0, lane.rows)
                build.kernel("to_heads", gpu, [piece], [outbound], heads=self.spread.shares[drive].kv_head_count)
                target = rows_view(self.caches[layer][drive].prompt[part], row, lane.rows)
                build.transfer(outbound, target, label="kv push")
                self.emit_pushed(build, layer, part, drive, outbound, row)

    def emit_pushed(
        self, build: PlanBuilder, layer: int, part: int, drive: int, outbound: View, row: int | Affine
    ) -> None:
        """What a variant adds after a prompt's keys (part 0) or values (1) by heads were pushed to a drive."""

    def _prompt_pieces(
        self, build: PlanBuilder, lane: Lane, layer: int, part: int, whole: View
    ) -> list[tuple[int, View]]:
        """The part of (rows, tokens, g*d) that goes to each drive."""
        if len(self.drives) == 1:
            return [(0, whole)]
        gpu = self.model.gpu_of(layer)
        columns = [
            rows_view(parts[part + 2], 0, lane.rows) if parts[part + 2].nbytes else None
            for parts in self.outbound[gpu][layer % 2]
        ]
        if not self.spread.by_tokens:
            views = [view for view in columns if view is not None]
            build.kernel("split", gpu, [whole], views)
            return list(enumerate(views))
        return self._token_pieces(build, lane, self.token_major[gpu][layer % 2][part], whole, columns)

    def _token_pieces(
        self, build: PlanBuilder, lane: Lane, buffer: Buffer, whole: View, columns: list[View | None]
    ) -> list[tuple[int, View]]:
        """Each drive's tokens of every sequence: token-major, they are one range of bytes, which is turned back."""
        tokens, size = self.scenario.prompt_tokens, self.shape.kv_size
        token_bytes = lane.rows * size * ITEM_BYTES[whole.buffer.dtype]
        source = whole
        if lane.rows > 1:
            source = View(buffer, 0, (tokens, lane.rows, size))
            build.kernel("swap_axes", whole.buffer.device, [whole], [source])
        pieces: list[tuple[int, View]] = []
        for drive, (share, column) in enumerate(zip(self.spread.shares, columns, strict=True)):
            if not share.prompt_tokens:
                continue
            assert isinstance(source.offset_bytes, int)
            offset = source.offset_bytes + share.prompt[0] * token_bytes
            piece = View(source.buffer, offset, (share.prompt_tokens, lane.rows, size))
            if lane.rows > 1:
                assert column is not None
                build.kernel("swap_axes", whole.buffer.device, [piece], [column])
                pieces.append((drive, column))
            else:
                pieces.append((drive, piece.reshape(1, share.prompt_tokens, size)))
        return pieces

    # -- decode: one plan a step ---------------------------------------------------------------------------------------

    def step(self, generated: int) -> BoundPlan:
        """See `OffloadedDecoder.step`."""
        key = (self.spread.owners(generated), self.spread.fills_group(generated))
        if key not in self._steps:
            self._steps[key] = self._step_plan(*key)
        return BoundPlan(self._steps[key], self.bindings(generated))

    def bindings(self, generated: int) -> dict[str, int]:
        scenario = self.scenario
        bindings = {"position": scenario.prompt_tokens + generated, "slot": generated % GROUP_TOKENS}
        for drive in self._every_drive if self.spread.by_tokens else (0,):
            holding = self.spread.holding(drive, generated)
            bindings[f"stored{drive}"] = holding.flushed
            bindings[f"flushed{drive}"] = scenario.effective_tokens(holding.flushed)
            bindings[f"tail{drive}"] = holding.tail
            if self._windowed:
                window = self.spread.holding(drive, generated, self.shape.sliding_window)
                for segment, start in enumerate(window.starts):
                    bindings[f"start{drive}.{segment}"] = start
        return bindings

    @property
    def _windowed(self) -> bool:
        return 0 < self.shape.sliding_window < self.scenario.max_tokens

    def _step_plan(self, owners: tuple[int, ...], fills: bool) -> Plan:
        build = PlanBuilder("instinfer step" + (" with flush" if fills else ""))
        self.model.emit_embed(build)
        for lane in self._every_lane:
            self._send(build, lane, 0, owners)
        for layer in range(self.shape.layers):
            for lane in self._every_lane:
                attn = self._attend(build, lane, layer, owners, fills)
                self.model.lanes[lane].finish_layer(build, layer, attn)
                if layer + 1 < self.shape.layers:
                    self._send(build, lane, layer + 1, owners)
        self.model.emit_heads(build)
        return build.plan()

    def _send(self, build: PlanBuilder, lane: int, layer: int, owners: tuple[int, ...]) -> None:
        """Q to every drive, K and V of the new token to the drives that append it."""
        gpu = self.model.gpu_of(layer)
        whole = self.model.lanes[lane].attention_inputs(build, layer, symbol("position"))
        counterparts = self.counterparts[gpu][lane]
        by_heads = len(self.drives) > 1 and not self.spread.by_tokens
        if by_heads:
            for part, view in enumerate(whole):
                build.kernel("split", gpu, [view], [counterpart.parts[part] for counterpart in counterparts])
        for drive, (landing, counterpart) in enumerate(zip(self.landings[lane], counterparts, strict=True)):
            sources = [buffer.view() for buffer in counterpart.parts] if by_heads else list(whole)
            build.transfer(sources[0], landing.q, label="send q")
            if drive in owners:
                build.transfer(sources[1], landing.k, label="send k")
                build.transfer(sources[2], landing.v, label="send v")

    def _attend(self, build: PlanBuilder, lane: int, layer: int, owners: tuple[int, ...], fills: bool) -> View:
        """Appends the new token, attends on every drive, brings the results to the GPU and joins them."""
        start, stop = self.model.row_ranges[lane]
        rows, shape = stop - start, self.shape
        results: list[tuple[Buffer, Buffer]] = []
        for drive, name in enumerate(self.drives):
            share, cache, landing = self.spread.shares[drive], self.caches[layer][drive], self.landings[lane][drive]
            new = (rows, share.kv_head_count, 1, shape.head_dim)
            if drive in owners:
                for part, source in enumerate((landing.k, landing.v)):
                    build.kernel(
                        "kv_write", name, [source.view().reshape(*new)], [cache.tail[part].rows(start, stop)],
                        position=symbol("slot"), tokens=1, label="kv append",
                    )  # fmt: skip
            self.emit_attention(build, layer, drive, lane)
            results.append((landing.out, landing.lse))
            if fills and drive in owners:
                self.emit_flush(build, layer, drive, lane)
        return self._join(build, lane, layer, results)

    def emit_attention(self, build: PlanBuilder, layer: int, drive: int, lane: int) -> None:
        """Attention of the new token of a mini-batch on one drive, after the drive that owns it has appended it."""
        start, stop = self.model.row_ranges[lane]
        share, landing = self.spread.shares[drive], self.landings[lane][drive]
        segments, tokens, starts = self._segments(layer, drive)
        query = landing.q.view().reshape(stop - start, share.head_count, self.shape.head_dim)
        kept = [buffer.rows(start, stop) for pair in segments for buffer in pair]
        build.kernel(
            "decode_attention", self.drives[drive], [query, *kept], [landing.out, landing.lse],
            tokens=tokens, starts=starts, scale=self.shape.attention_scale,
        )  # fmt: skip

    def _segments(
        self, layer: int, drive: int
    ) -> tuple[list[tuple[Buffer, Buffer]], tuple[int | Affine, ...], tuple[int | Affine, ...]]:
        """What a drive attends over: buffers, valid tokens, and first tokens where a window cuts some off."""
        cache, share = self.caches[layer][drive], self.spread.shares[drive]
        number = drive if self.spread.by_tokens else 0
        segments = [cache.generated, cache.tail]
        tokens: list[int | Affine] = [symbol(f"flushed{number}"), symbol(f"tail{number}")]
        which = [1, 2]
        if share.prompt_tokens:
            segments.insert(0, cache.prompt)
            tokens.insert(0, self.scenario.effective_tokens(share.prompt_tokens))
            which.insert(0, 0)
        cut = self._windowed and self.shape.window(layer) > 0
        return segments, tuple(tokens), tuple(symbol(f"start{number}.{part}") for part in which) if cut else ()

    def emit_flush(self, build: PlanBuilder, layer: int, drive: int, lane: int) -> None:
        """A full group goes from the group buffer to flash: whole pages, appended."""
        start, stop = self.model.row_ranges[lane]
        cache = self.caches[layer][drive]
        number = drive if self.spread.by_tokens else 0
        for part in range(2):
            build.kernel(
                "kv_write", self.drives[drive], [cache.tail[part].rows(start, stop)],
                [cache.generated[part].rows(start, stop)],
                position=symbol(f"stored{number}"), tokens=GROUP_TOKENS, label="kv flush",
            )  # fmt: skip

    def _join(self, build: PlanBuilder, lane: int, layer: int, results: list[tuple[Buffer, Buffer]]) -> View:
        gpu, rows = self.model.gpu_of(layer), self.model.lanes[lane].rows
        target = self.model.lanes[lane].at(layer).attention
        if len(self.drives) == 1:
            build.transfer(results[0][0], target, label="attention out")
            return target
        arrived = self.counterparts[gpu][lane]
        for (out, lse), counterpart in zip(results, arrived, strict=True):
            build.transfer(out, counterpart.out, label="attention out")
            if self.spread.by_tokens:
                build.transfer(lse, counterpart.lse, label="attention out")
        if self.spread.by_tokens:
            pairs = [buffer for counterpart in arrived for buffer in (counterpart.out, counterpart.lse)]
            build.kernel("merge_attention", gpu, pairs, [target])
        else:
            widths = [share.head_count * self.shape.head_dim for share in self.spread.shares]
            flat = [one.out.view().reshape(rows, width) for one, width in zip(arrived, widths, strict=True)]
            build.kernel("concat", gpu, flat, [target.reshape(rows, self.shape.q_size)])
        return target

    # -- buffers -------------------------------------------------------------------------------------------------------

    def _cache(self, layer: int, drive: int) -> LayerCache:
        share, scenario = self.spread.shares[drive], self.scenario
        capacity = self.spread.generated_capacity(scenario.output_tokens)

        def pair(tier: str, name: str, tokens: int) -> tuple[Buffer, Buffer]:
            extents = (scenario.batch, share.kv_head_count, tokens, self.shape.head_dim)
            device = self.drives[drive]
            return (
                Buffer(device, tier, f"{name}_k{layer}", scenario.dtype, extents),
                Buffer(device, tier, f"{name}_v{layer}", scenario.dtype, extents),
            )

        return LayerCache(
            pair("flash", "prompt", share.prompt_tokens),
            pair("flash", "generated", capacity),
            pair("dram", "group", GROUP_TOKENS),
        )

    def _landing(self, lane: int, drive: int) -> Landing:
        share, dim, dtype = self.spread.shares[drive], self.shape.head_dim, self.scenario.dtype
        rows, device = self.model.lanes[lane].rows, self.drives[drive]
        kv = (rows, share.kv_head_count * dim)
        return Landing(
            Buffer(device, "dram", f"q{lane}", dtype, (rows, share.head_count * dim)),
            Buffer(device, "dram", f"k{lane}", dtype, kv),
            Buffer(device, "dram", f"v{lane}", dtype, kv),
            Buffer(device, "dram", f"out{lane}", dtype, (rows, share.head_count, dim)),
            Buffer(device, "dram", f"lse{lane}", "fp32", (rows, share.head_count)),
        )

    def _counterpart(self, gpu: str, lane: int, drive: int) -> Counterpart:
        share, dim, dtype = self.spread.shares[drive], self.shape.head_dim, self.scenario.dtype
        rows, name = self.model.lanes[lane].rows, f"{self.drives[drive]}.%s{lane}"
        kv = (rows, share.kv_head_count * dim)
        return Counterpart(
            (
                Buffer(gpu, "hbm", name % "q", dtype, (rows, share.head_count * dim)),
                Buffer(gpu, "hbm", name % "k", dtype, kv),
                Buffer(gpu, "hbm", name % "v", dtype, kv),
            ),
            Buffer(gpu, "hbm", name % "out", dtype, (rows, share.head_count, dim)),
            Buffer(gpu, "hbm", name % "lse", "fp32", (rows, share.head_count)),
        )

    def _outbound(self, gpu: str, turn: int, drive: int) -> tuple[Buffer, Buffer, Buffer, Buffer]:
        """On a GPU: keys and values by heads for a drive, and where they are split into when heads are spread."""
        share, rows, dim = self.spread.shares[drive], self.model.pass_rows, self.shape.head_dim
        groups, tokens = share.kv_head_count, share.prompt_tokens
        split = tokens if len(self.drives) > 1 and (rows > 1 or not self.spread.by_tokens) else 0
        name = f"outbound{turn}.{self.drives[drive]}"

        def buffer(part: str, extents: tuple[int, ...]) -> Buffer:
            return Buffer(gpu, "hbm", f"{name}.{part}", self.scenario.dtype, extents)

        by_heads, columns = (rows, groups, tokens, dim), (rows, split, groups * dim)
        return buffer("k", by_heads), buffer("v", by_heads), buffer("k.columns", columns), buffer("v.columns", columns)

    def _token_major(self, gpu: str, turn: int) -> tuple[Buffer, Buffer]:
        """On a GPU: a prompt's keys and values with the tokens outermost; nothing where heads are spread."""
        rows = self.model.pass_rows if self.spread.by_tokens and self.model.pass_rows > 1 else 0
        extents = (self.scenario.prompt_tokens, rows, self.shape.kv_size)
        return (
            Buffer(gpu, "hbm", f"token_major{turn}.k", self.scenario.dtype, extents),
            Buffer(gpu, "hbm", f"token_major{turn}.v", self.scenario.dtype, extents),
        )


def instinfer(run: Run, scenario: Scenario) -> Program:
    """Decoding with the KV cache and decode attention in drives; sparse attention with the option `compression`."""
    if "compression" in scenario.options:
        from controller.strategies.sparf import sparf

        return sparf(run, scenario)
    return generate(run, scenario, InstInfer(scenario))
