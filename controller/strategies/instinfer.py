"""InstInfer: the whole KV cache and decode attention in computational storage drives, everything else on the GPU.

Paper: "InstInfer: In-Storage Attention Offloading", arXiv 2409.04992; HPCA 2025, doi 10.1109/HPCA61900.2025.00113.
Follows: section IV-A (placement), IV-C (KV groups of 16 tokens, group buffer in drive DRAM; a vendor command from the
    host for each sequence, layer and drive), IV-D (layer-wise push of the prompt's KV by peer-to-peer DMA). The option
    `compression` chooses the paper's sparse attention (`controller.offload.sparf`), `mini_batches` turns on both sides.
Differs: the prompt's KV lies in a segment of its own, so that one DMA a layer brings it into place. A full group is
    written to flash in the step that fills it. Where a model has fewer KV heads than drives, tokens are spread
    and partial attentions merged (the paper has one KV head per query head and spreads heads). One mini-batch unless
    told otherwise: published steps are those of GPU and drives one after the other.
Checked by: tests/live/test_generation.py (tokens against the plain run), tests/paper/test_instinfer.py.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from controller.models.scenario import Scenario
from controller.offload.drive_cache import DriveCache
from controller.offload.generation import BoundPlan, generate
from controller.offload.gpu_model import GpuModel, devices, rows_view
from controller.offload.host_commands import HostCommands
from controller.offload.kv_spread import GROUP_TOKENS, KvSpread
from controller.offload.sparf import Sparf, SparfOptions
from controller.offload.spread_values import prompt_pieces, rows_of, split_heads
from controller.offload.storage_attention import Dense, StorageAttention
from controller.plan.ops import Plan
from controller.plan.script import Script, Value
from controller.plan.size import Affine, Size, symbol
from controller.plan.value import Place
from controller.program.options import Count, option
from controller.program.run import GenerationProgram, Run

Sent = tuple[Value, Sequence[Value]]
"""q on a drive, and k and v where the drive appends them."""


@dataclass(frozen=True)
class InstInferOptions(SparfOptions):
    """What a user may choose."""

    mini_batches: Count = option(1, "parts of the batch that take turns on GPU and drives")


class InstInfer:
    """Decoder whose KV cache lies in drives; GPU and drives alternate over micro-batches."""

    def __init__(self, scenario: Scenario) -> None:
        options = InstInferOptions.of(scenario.options)
        scenario = replace(scenario, options=options)
        self.scenario, self.shape = scenario, scenario.shape
        shape = self.shape
        self.drives = [device.name for device in devices(scenario, "csd", "the KV cache", computes=True)]
        self.spread = KvSpread(shape.heads, shape.kv_heads, len(self.drives), scenario.prompt_tokens)
        self.model = GpuModel(scenario, options.mini_batches)
        self.next_ids, self.logits = self.model.next_ids, self.model.logits
        capacity = self.spread.generated_capacity(scenario.output_tokens)
        self.caches = [
            [
                DriveCache(drive, layer, scenario.kv_dtype, scenario.batch, share.kv_head_count,
                           shape.head_dim, share.prompt_tokens, capacity)
                for drive, share in zip(self.drives, self.spread.shares, strict=True)
            ]
            for layer in range(shape.layers)
        ]  # fmt: skip
        self.commands = HostCommands(scenario.topology, self.drives[0])
        self.windowed = 0 < shape.sliding_window < scenario.max_tokens
        chosen = Dense if options.compression is None else Sparf
        self.attention: StorageAttention = chosen(scenario, self.spread, self.caches, self.model)
        self._steps: dict[tuple[tuple[int, ...], bool], Plan] = {}

    def place(self, run: Run) -> None:
        self._run = run
        self.model.place(run)
        kept = (buffer for layer in self.caches for cache in layer for buffer in cache.buffers)
        for buffer in (*kept, *self.attention.buffers):
            run.place(buffer, written=True)

    # -- prefill: layer by layer, the KV of a layer leaves while the next one computes --------------------------------

    def prefill(self) -> Iterator[BoundPlan]:
        return self.model.prefill(self._run, "instinfer", self._emit_prompt)

    def _emit_prompt(self, s: Script, x: Value, row: Affine) -> Value:
        for layer in range(self.shape.layers):
            x, block = self.model.enter(s, layer, x), self.model.block(layer)
            q, k, v = block.qkv(s, x)
            with s.staging("push", layer):
                for part, whole in enumerate((k, v)):
                    for drive, piece in prompt_pieces(s, self.spread, whole, self.shape.head_dim):
                        outbound = block.cached(s, block.to_heads(s, piece))
                        target = rows_view(self.caches[layer][drive].prompt[part], row, rows_of(outbound))
                        s.move(outbound, target, "kv push", connection="kv")
                        self.attention.pushed(s, layer, part, drive, outbound, row)
            attention = block.prefill_attention(s, *[block.to_heads(s, part) for part in (q, k, v)])
            x = block.finish(s, x, attention)
        return x

    # -- decode: one plan a step ---------------------------------------------------------------------------------------

    def step(self, generated: int) -> BoundPlan:
        key = (self.spread.owners(generated), self.spread.fills_group(generated))
        if key not in self._steps:
            self._steps[key] = self._step_plan(*key)
        return BoundPlan(self._steps[key], self._bindings(generated), self.model.scratch)

    def _bindings(self, generated: int) -> dict[str, int]:
        scenario = self.scenario
        bindings = {"position": scenario.prompt_tokens + generated, "slot": generated % GROUP_TOKENS}
        for drive in range(len(self.drives)) if self.spread.by_tokens else (0,):
            holding = self.spread.holding(drive, generated)
            bindings[f"stored{drive}"] = holding.flushed
            bindings[f"flushed{drive}"] = scenario.effective_tokens(holding.flushed)
            bindings[f"tail{drive}"] = holding.tail
            if self.windowed:
                prompt, flushed, tail = self.spread.holding(drive, generated, self.shape.sliding_window).starts
                prompt = scenario.effective_start(prompt, self.spread.shares[drive].prompt_tokens)
                starts = prompt, scenario.effective_start(flushed, holding.flushed), tail
                bindings |= {f"start{drive}.{segment}": start for segment, start in enumerate(starts)}
        return self.attention.bindings(bindings)

    def _step_plan(self, owners: tuple[int, ...], fills: bool) -> Plan:
        s = self.model.script("instinfer step" + (" with flush" if fills else ""))
        x = self.model.embed(s)
        lanes, layers, sent = range(len(x)), range(self.shape.layers), list[list[Sent]]()
        for s.microbatch in lanes:
            sent.append(self._send(s, x[len(sent)], 0, owners))
        for layer in layers:
            for lane in lanes:
                s.microbatch = lane
                attention = self._attend(s, layer, lane, sent[lane], owners, fills)
                x[lane] = self.model.block(layer).finish(s, x[lane], attention)
                if layer + 1 < len(layers):
                    x[lane] = self.model.enter(s, layer + 1, x[lane])
                    sent[lane] = self._send(s, x[lane], layer + 1, owners)
        self.model.finish(s, x)
        return s.plan()

    def _send(self, s: Script, x: Value, layer: int, owners: tuple[int, ...]) -> list[Sent]:
        """q to every drive, k and v of the new token to the drives that append it."""
        block = self.model.block(layer)
        q, *new = block.qkv(s, x, symbol("position"))
        parts: list[Sequence[Value]] = [[one] * len(self.drives) for one in (q, *(block.cached(s, one) for one in new))]
        if len(self.drives) > 1 and not self.spread.by_tokens:
            heads = [share.head_count for share in self.spread.shares]
            kv_heads = [share.kv_head_count for share in self.spread.shares]
            parts = [
                split_heads(s, columns[0], counts, self.shape.head_dim)
                for columns, counts in zip(parts, (heads, kv_heads, kv_heads), strict=True)
            ]
        sent: list[Sent] = []
        made = [s.count - 1]
        for drive, (name, q, k, v) in enumerate(zip(self.drives, *parts, strict=True)):
            there = Place(name, "dram")
            query = s.move(q, there, "send q", after=self.commands.submit(s, q.shape[0], made))
            sent.append((query, [s.move(k, there, "send k"), s.move(v, there, "send v")] if drive in owners else ()))
        return sent

    def _attend(
        self, s: Script, layer: int, lane: int, sent: list[Sent], owners: tuple[int, ...], fills: bool
    ) -> Value:
        """Appends the new token, attends on every drive, brings the results to the GPU and joins them."""
        rows, results = self.model.row_ranges[lane], []
        for drive, (q, new) in enumerate(sent):
            cache, number = self.caches[layer][drive], drive if self.spread.by_tokens else 0
            if drive in owners:
                cache.append(s, new, rows, symbol("slot"))
            starts: list[Size] = []
            if self.windowed and self.shape.window(layer):
                segments = range(0 if cache.prompt[0].nbytes else 1, 3)
                starts = [symbol(f"start{number}.{segment}") for segment in segments]
            results.append(self.attention.attend(s, self.model.block(layer), drive, lane, q, new, rows, number, starts))
            if fills and drive in owners:
                stored = symbol(f"stored{number}")
                cache.flush(s, rows, stored)
                self.attention.flushed(s, layer, drive, rows, stored)
        return self._join(s, self.model.place_of(layer), results)

    def _join(self, s: Script, gpu: Place, results: list[tuple[Value, Value | None]]) -> Value:
        arrived: list[Value] = []
        for out, lse in results:
            arrived.append(s.move(out, gpu, "attention out"))
            if self.spread.by_tokens and len(results) > 1:
                assert lse is not None
                arrived.append(s.move(lse, gpu, "attention out"))
        if len(results) == 1 or self.spread.by_tokens:
            return arrived[0] if len(results) == 1 else s.op("merge_attention", *arrived)
        widths = [share.head_count * self.shape.head_dim for share in self.spread.shares]
        return s.op("concat", *(one.reshape(one.shape[0], width) for one, width in zip(arrived, widths, strict=True)))


def instinfer(run: Run, scenario: Scenario) -> GenerationProgram:
    """Decoding with the KV cache and decode attention in drives; sparse attention with the option `compression`."""
    decoder = InstInfer(scenario)
    yield from decoder.attention.announce(run)
    result = yield from generate(run, scenario, decoder)
    yield from decoder.attention.measure(run)
    return result
