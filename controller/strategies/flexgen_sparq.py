"""FlexGen with SparQ attention: the GPU attends to a part of a KV cache on an SSD, and fetches only that part.

Paper: SparQ, arXiv 2312.04985, as the baseline FlexGen-SparQ of InstInfer, arXiv 2409.04992, section VI.
Follows: K twice on the SSD, by tokens and by channels; the largest channels of q are fetched, score all tokens, and the
    keys and values of the best tokens follow. The next layer's query is not known yet, so nothing is fetched ahead.
Differs: what is fetched depends on the data, which no declared transfer can say: virtual runs only, where it is the
    share `compression` of the bytes. Requests are taken to be as efficient as FlexGen's own (the measured path of
    `kv_streaming`), though they are smaller. New tokens stay in host memory until 256 of them, a page of channels in
    InstAttention's layout, are written at the drive's own rate: by channels, a single token would be thousands of
    writes of two bytes each. So FlexGen's measured append rate does not apply.
Checked by: tests/unit/controller/strategies/test_flexgen_sparq.py (bytes by hand), tests/paper/test_instinfer.py.
"""

from __future__ import annotations

from collections.abc import Iterator

from controller.errors import BadWorkload
from controller.models.scenario import Scenario
from controller.offload.generation import BoundPlan, generate
from controller.offload.sparf import STATED_COMPRESSION, share_option
from controller.plan.build import PlanBuilder
from controller.plan.ops import Buffer, Plan, View
from controller.plan.size import Affine, symbol
from controller.program.run import GenerationProgram, Run
from controller.strategies.kv_streaming import flexgen_rate
from controller.strategies.lane import Lane
from controller.strategies.placement import GpuModel, devices, rows_view
from node.hardware.operation import ITEM_BYTES

GROUP_TOKENS = 256
"""New tokens that wait in host memory: the fewest that fill a page by channels (InstAttention, section IV-C)."""


class FlexGenSparq:
    """Decoder that fetches channels, then tokens, from an SSD through host memory."""

    def __init__(self, scenario: Scenario) -> None:
        self.scenario, self.shape = scenario, scenario.shape
        self.compression = share_option(scenario, "compression", STATED_COMPRESSION)
        self.model = GpuModel(scenario)
        self.next_ids, self.logits = self.model.next_ids, self.model.logits
        self.host = devices(scenario, "cpu", "what passes between SSD and GPU")[0].name
        self.drive = devices(scenario, "csd", "the KV cache")[0].name
        self.read_bytes_per_s = flexgen_rate(scenario, "flexgen.read")
        shape = self.shape
        layers = range(shape.layers)
        tokens = scenario.max_tokens
        self._channels = max(1, round(self.compression * shape.head_dim))
        self._kept = max(1, round(self.compression * tokens))
        on_drive, here = (self.drive, "flash"), (self.host, "dram")
        self._kept_home = [[self._cache(on_drive, f"{part}{layer}", tokens) for part in "kvc"] for layer in layers]
        self._held = [[self._cache(here, f"prefill.{part}{layer}", scenario.prompt_tokens) for part in "kv"]
                      for layer in layers]  # fmt: skip
        waiting = min(GROUP_TOKENS, scenario.output_tokens)
        self._waiting = [[self._cache(here, f"new.{part}{layer}", waiting) for part in "kv"] for layer in layers]
        item = scenario.batch * shape.kv_heads * shape.head_dim
        most = max(self._channels * scenario.batch * shape.kv_heads * tokens, self._kept * item)
        self._via = [self._flat(here, f"via{turn}", most) for turn in range(2)]
        self._arrived = {gpu: [self._flat((gpu, "hbm"), f"in{turn}", most) for turn in range(3)]
                         for gpu in self.model.gpus}  # fmt: skip
        self._tail = {gpu: [self._cache((gpu, "hbm"), f"tail.{part}", waiting) for part in "kv"]
                      for gpu in self.model.gpus}  # fmt: skip
        self._leaving = {gpu: [self._flat((gpu, "hbm"), f"out.{part}", item) for part in "kv"]
                         for gpu in self.model.gpus}  # fmt: skip
        rows, heads = scenario.batch, shape.heads
        self._guess = {gpu: (Buffer(gpu, "hbm", "guess", scenario.dtype, (rows, heads, self._channels)),
                             Buffer(gpu, "hbm", "guess_lse", "fp32", (rows, heads)))
                       for gpu in self.model.gpus}  # fmt: skip
        self._prompt_out = {
            gpu: [[self._prompt_part(gpu, f"{part}{turn}") for part in "kv"] for turn in range(2)]
            for gpu in self.model.gpus
        }
        self._step = self._step_plan()

    def place(self, run: Run) -> None:
        """See `OffloadedDecoder.place`."""
        self._run = run
        self.model.place(run)
        for buffers in (*self._kept_home, *self._waiting):
            for buffer in buffers:
                run.place(buffer, written=True)

    def prefill(self) -> Iterator[BoundPlan]:
        """See `OffloadedDecoder.prefill`: as FlexGen's, with K in a second layout."""
        prompt = [buffer for turns in self._prompt_out.values() for pair in turns for buffer in pair]
        leaving = [*prompt, *(buffer for pair in self._held for buffer in pair)]
        for buffer in leaving:
            self._run.place(buffer, written=True)
        yield from self.model.prefill(self._run, "flexgen_sparq", self._emit_prompt)
        yield BoundPlan(self._store_plan("prompt", self._held, self.scenario.prompt_tokens), {})
        for buffer in leaving:
            self._run.release(buffer)
        for gpu in self.model.gpus:
            for buffer in (*self._arrived[gpu], *self._tail[gpu], *self._leaving[gpu], *self._guess[gpu]):
                self._run.place(buffer, written=True)
        for buffer in self._via:
            self._run.place(buffer, written=True)

    def step(self, generated: int) -> BoundPlan:
        """See `OffloadedDecoder.step`."""
        scenario, shape = self.scenario, self.shape
        stored = generated // GROUP_TOKENS * GROUP_TOKENS
        context = scenario.effective_tokens(scenario.prompt_tokens + stored)
        tail = max(1, scenario.effective_tokens(generated - stored + 1))
        kept = max(1, round(self.compression * context))
        item = scenario.batch * shape.kv_heads
        bindings = {
            "position": scenario.prompt_tokens + generated,
            "slot": (generated - stored) * shape.kv_size * scenario.batch,
            "context": context,
            "channel_items": self._channels * item * context,
            "kept": kept,
            "kept_items": kept * item * shape.head_dim,
            "tail": tail,
            "tail_items": tail * item * shape.head_dim,
        }
        if generated and generated == stored:
            # The group is full: it goes to the drive before this step reads it.
            return BoundPlan(self._step_plan(stores=True), bindings)
        return BoundPlan(self._step, bindings)

    def _emit_prompt(self, build: PlanBuilder, lane: Lane, row: int | Affine) -> None:
        for layer in range(self.shape.layers):
            q, k, v = lane.attention_inputs(build, layer)
            out = [rows_view(buffer, 0, lane.rows) for buffer in self._prompt_out[self.model.gpu_of(layer)][layer % 2]]
            attn, *_ = lane.at(layer).prefill_attention(build, layer, q, k, v, *out)
            for source, held in zip(out, self._held[layer], strict=True):
                build.transfer(source, rows_view(held, row, lane.rows), label="kv out")
            lane.finish_layer(build, layer, attn)

    def _store_plan(self, name: str, held: list[list[Buffer]], tokens: int) -> Plan:
        build = PlanBuilder(f"flexgen_sparq store {name}")
        self._emit_store(build, held, tokens)
        return build.plan()

    def _emit_store(self, build: PlanBuilder, held: list[list[Buffer]], tokens: int) -> None:
        """K by tokens and by channels, and V, one after the other in long pieces."""
        before: tuple[int, ...] = ()
        items = self.scenario.batch * self.shape.kv_size * tokens
        for pair, home in zip(held, self._kept_home, strict=True):
            for source, target in ((pair[0], home[0]), (pair[0], home[2]), (pair[1], home[1])):
                into = View(target, 0, (items,))
                before = (build.transfer(View(source, 0, (items,)), into, after=before, label="kv store"),)

    def _step_plan(self, *, stores: bool = False) -> Plan:
        build, lane = PlanBuilder("flexgen_sparq step"), self.model.lanes[0]
        if stores:
            self._emit_store(build, self._waiting, min(GROUP_TOKENS, self.scenario.output_tokens))
        self.model.emit_embed(build)
        last: tuple[int, ...] = ()
        for layer in range(self.shape.layers):
            gpu = self.model.gpu_of(layer)
            q, k, v = lane.attention_inputs(build, layer, symbol("position"))
            last = self._append(build, layer, gpu, (k, v), last)
            attn, last = self._attend(build, lane, layer, gpu, q, last)
            lane.finish_layer(build, layer, attn)
        self.model.emit_heads(build)
        return build.plan()

    def _append(
        self, build: PlanBuilder, layer: int, gpu: str, kv: tuple[View, View], last: tuple[int, ...]
    ) -> tuple[int, ...]:
        """The new keys and values join those that wait in host memory, and all of these come to the GPU."""
        item = self.scenario.batch * self.shape.kv_size
        width = ITEM_BYTES[self.scenario.dtype]
        for part, view in enumerate(kv):
            out, waiting = self._leaving[gpu][part], self._waiting[layer][part]
            flat = view.reshape(item)
            build.kernel("copy", gpu, [flat], [out])
            build.transfer(out, View(waiting, symbol("slot") * width, (item,)), label="kv out")
            items = symbol("tail_items")
            build.transfer(View(waiting, 0, (items,)), View(self._tail[gpu][part], 0, (items,)), label="tail in")
        return last

    def _attend(
        self, build: PlanBuilder, lane: Lane, layer: int, gpu: str, q: View, last: tuple[int, ...]
    ) -> tuple[View, tuple[int, ...]]:
        shape, rows = self.shape, lane.rows
        channels, *kept = self._arrived[gpu]
        # The query decides what is read: its largest channels go to the host before anything comes back.
        asked = build.count - 1
        last = self._fetch(build, self._kept_home[layer][2], channels, "channel_items", (*last, asked))
        guess, guess_lse = self._guess[gpu]
        part = View(channels, 0, (rows, shape.kv_heads, symbol("context"), self._channels))
        query = View(q.buffer, q.offset_bytes, (rows, shape.heads, self._channels))
        scored = build.kernel(
            "decode_attention", gpu, [query, part, part], [guess, guess_lse],
            tokens=(symbol("context"),), scale=shape.attention_scale, label="score",
        )  # fmt: skip
        last = (*last, scored)
        for number, buffer in enumerate(kept):
            last = self._fetch(build, self._kept_home[layer][number], buffer, "kept_items", last)
        views = [View(buffer, 0, (rows, shape.kv_heads, symbol("kept"), shape.head_dim)) for buffer in kept]
        tail = [View(buffer, 0, (rows, shape.kv_heads, symbol("tail"), shape.head_dim)) for buffer in self._tail[gpu]]
        pairs = [(views[0], views[1]), (tail[0], tail[1])]
        return lane.at(layer).decode_attention(build, q, pairs, (symbol("kept"), symbol("tail"))), last

    def _fetch(
        self, build: PlanBuilder, home: Buffer, target: Buffer, items: str, after: tuple[int, ...]
    ) -> tuple[int, ...]:
        """From the drive to the host at the measured rate, one at a time, and on to the GPU."""
        via = self._via[build.count % 2]
        size = (symbol(items),)
        read = build.transfer(
            View(home, 0, size), View(via, 0, size),
            rate_limit_bytes_per_s=self.read_bytes_per_s, after=after, label="kv read",
        )  # fmt: skip
        build.transfer(View(via, 0, size), View(target, 0, size), label="kv in")
        return (read,)

    def _cache(self, where: tuple[str, str], name: str, tokens: int) -> Buffer:
        extents = (self.scenario.batch, self.shape.kv_heads, tokens, self.shape.head_dim)
        return Buffer(*where, name, self.scenario.dtype, extents)

    def _flat(self, where: tuple[str, str], name: str, items: int) -> Buffer:
        return Buffer(*where, name, self.scenario.dtype, (items,))

    def _prompt_part(self, gpu: str, name: str) -> Buffer:
        rows, shape = self.model.pass_rows, self.shape
        extents = (rows, shape.kv_heads, self.scenario.prompt_tokens, shape.head_dim)
        return Buffer(gpu, "hbm", f"prompt_out.{name}", self.scenario.dtype, extents)


def flexgen_sparq(run: Run, scenario: Scenario) -> GenerationProgram:
    """Decoding with SparQ attention over a KV cache on an SSD.

    Raises:
        BadWorkload: a live run, or a model with a sliding window.
    """
    if run.live:
        raise BadWorkload(
            "flexgen_sparq fetches what its data choose, which a declared transfer cannot say: it runs virtually only; "
            "for sparse attention with values take instinfer --compression 0.125 --live"
        )
    if 0 < scenario.shape.sliding_window < scenario.max_tokens:
        raise BadWorkload(f"{scenario.shape.name} attends to a sliding window, which SparQ does not know")
    return generate(run, scenario, FlexGenSparq(scenario))
