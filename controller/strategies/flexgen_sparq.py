"""FlexGen with SparQ attention: the GPU attends to a part of a KV cache on an SSD, and fetches only that part.

Paper: SparQ, arXiv 2312.04985, as the baseline FlexGen-SparQ of InstInfer, arXiv 2409.04992, section VI.
Follows: K twice on the SSD, by tokens and by channels; the largest channels of q are fetched, score all tokens, and the
    keys and values of the best tokens follow. The next layer's query is not known yet, so nothing is fetched ahead.
Differs: what is fetched depends on the data, which no declared transfer can say: virtual runs only, where it is the
    share `compression` of the bytes. Requests are taken to be as efficient as FlexGen's own (the measured path of
    `flexgen`), though they are smaller. New tokens stay in host memory until 256 of them, a page of channels in
    InstAttention's layout, are written at the drive's own rate: by channels, a single token would be thousands of
    writes of two bytes each. So FlexGen's measured append rate does not apply.
Checked by: tests/unit/controller/strategies/test_flexgen_sparq.py (bytes by hand), tests/paper/test_instinfer.py.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from controller.errors import BadWorkload
from controller.models.block import Block
from controller.models.scenario import Scenario
from controller.offload.generation import BoundPlan, generate
from controller.offload.gpu_model import GpuModel, devices, rows_view
from controller.offload.software_path import software_rate
from controller.offload.sparf import STATED_COMPRESSION
from controller.plan.ops import Buffer, Plan, View
from controller.plan.script import Script, Value
from controller.plan.size import Affine, symbol
from controller.plan.value import Place
from controller.program.options import Options, Share, option
from controller.program.run import GenerationProgram, Run
from node.hardware.operation import ITEM_BYTES

GROUP_TOKENS = 256
"""New tokens that wait in host memory: InstAttention (section IV-C) fills a page by channels with 256 to 1,024."""


@dataclass(frozen=True)
class FlexGenSparqOptions(Options):
    """What a user may choose."""

    compression: Share = option(STATED_COMPRESSION, "share of the channels and of the tokens that are fetched")


class FlexGenSparq:
    """Decoder that fetches channels, then tokens, from an SSD through host memory."""

    def __init__(self, scenario: Scenario) -> None:
        self.scenario, self.shape = scenario, scenario.shape
        self.compression = FlexGenSparqOptions.of(scenario.options).compression
        self.model = GpuModel(scenario)
        self.next_ids, self.logits = self.model.next_ids, self.model.logits
        self.host = Place(devices(scenario, "cpu", "what passes between SSD and GPU")[0].name, "dram")
        drive = Place(devices(scenario, "csd", "the KV cache")[0].name, "flash")
        self.read_bytes_per_s = software_rate(scenario.topology, "flexgen.read")
        shape, tokens, batch = self.shape, scenario.max_tokens, scenario.batch
        layers, waiting = range(shape.layers), min(GROUP_TOKENS, scenario.output_tokens)
        self._channels = max(1, round(self.compression * shape.head_dim))
        self._home = [[self._cache(drive, f"{part}{layer}", tokens) for part in "kvc"] for layer in layers]
        self._held = [
            [self._cache(self.host, f"prefill.{part}{layer}", scenario.prompt_tokens) for part in "kv"]
            for layer in layers
        ]
        self._waiting = [[self._cache(self.host, f"new.{part}{layer}", waiting) for part in "kv"] for layer in layers]
        self._bounds = {
            "channel_items": self._channels * batch * shape.kv_heads * tokens,
            "kept_items": max(1, round(self.compression * tokens)) * batch * shape.kv_size,
            "tail_items": waiting * batch * shape.kv_size,
        }
        self._step = self._step_plan()

    def place(self, run: Run) -> None:
        self._run = run
        self.model.place(run)
        for buffer in (buffer for buffers in (*self._home, *self._waiting) for buffer in buffers):
            run.place(buffer, written=True)

    def prefill(self) -> Iterator[BoundPlan]:
        held = [buffer for pair in self._held for buffer in pair]
        for buffer in held:
            self._run.place(buffer, written=True)
        yield from self.model.prefill(self._run, "flexgen_sparq", self._emit_prompt)
        store = Script("flexgen_sparq store prompt")
        self._store(store, self._held, self.scenario.prompt_tokens)
        yield BoundPlan(store.plan(), {})
        for buffer in held:
            self._run.release(buffer)

    def step(self, generated: int) -> BoundPlan:
        scenario, shape = self.scenario, self.shape
        stored = generated // GROUP_TOKENS * GROUP_TOKENS
        context = scenario.effective_tokens(scenario.prompt_tokens + stored)
        tail, kept = (
            max(1, scenario.effective_tokens(generated - stored + 1)),
            max(1, round(self.compression * context)),
        )
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
        # A full group goes to the drive before the next step reads it.
        plan = self._step_plan(stores=True) if generated and generated == stored else self._step
        return BoundPlan(plan, bindings, self.model.scratch)

    def _emit_prompt(self, s: Script, x: Value, row: Affine) -> Value:
        rows = x.shape[0]
        assert isinstance(rows, int)

        def hold(layer: int, out: list[Value]) -> None:
            for source, held in zip(out, self._held[layer], strict=True):
                s.move(source, rows_view(held, row, rows), "kv out")

        return self.model.leaving_prompt(s, x, hold)

    def _store(self, s: Script, held: list[list[Buffer]], tokens: int) -> None:
        """K by tokens and by channels, and V, one after the other in long pieces."""
        items = (self.scenario.batch * self.shape.kv_size * tokens,)
        before: tuple[int, ...] = ()
        for (k, v), (home_k, home_v, home_c) in zip(held, self._home, strict=True):
            for source, target in ((k, home_k), (k, home_c), (v, home_v)):
                s.move(View(source, 0, items), View(target, 0, items), "kv store", after=before)
                before = (s.count - 1,)

    def _step_plan(self, *, stores: bool = False) -> Plan:
        s = Script("flexgen_sparq step", self.model.scratch, self._bounds)
        if stores:
            self._store(s, self._waiting, min(GROUP_TOKENS, self.scenario.output_tokens))
        (x,) = self.model.embed(s)
        self._last: tuple[int, ...] = ()
        for layer in range(self.shape.layers):
            x, block = self.model.enter(s, layer, x), self.model.block(layer)
            q, *new = block.qkv(s, x, symbol("position"))
            attention = self._attend(s, block, q, self._append(s, x.place, layer, new))
            x = block.finish(s, x, attention)
        self.model.finish(s, [x])
        return s.plan()

    def _append(self, s: Script, gpu: Place, layer: int, new: Iterable[Value]) -> list[Value]:
        """The new keys and values join those that wait in host memory, and all of these come to the GPU."""
        item, tails = self.scenario.batch * self.shape.kv_size, list[Value]()
        for part, waiting in zip(new, self._waiting[layer], strict=True):
            with s.staging("leaving", len(tails)):
                out = s.op("copy", part.reshape(item))
            s.move(out, View(waiting, symbol("slot") * ITEM_BYTES[self.scenario.dtype], (item,)), "kv out")
            tails.append(s.move(View(waiting, 0, (symbol("tail_items"),)), gpu, "tail in"))
        return tails

    def _attend(self, s: Script, block: Block, q: Value, tails: Sequence[Value]) -> Value:
        shape, rows, (home_k, home_v, home_c) = self.shape, self.scenario.batch, self._home[block.layer]
        # The query decides what is read: its largest channels go to the host before anything comes back.
        self._last = (*self._last, s.count - 1)
        channels = self._fetch(s, home_c, q.place, "channel_items")
        part = channels.reshape(rows, shape.kv_heads, symbol("context"), self._channels)
        query = q.part(0, (rows, shape.heads, self._channels))
        guess = s.op(
            "decode_attention", query, part, part,
            tokens=(symbol("context"),), scale=shape.attention_scale, label="score",
        )  # fmt: skip
        s.drop(guess)
        self._last = (*self._last, s.count - 1)
        kept = (self._fetch(s, home, q.place, "kept_items") for home in (home_k, home_v))
        k, v = [each.reshape(rows, shape.kv_heads, symbol("kept"), shape.head_dim) for each in kept]
        tail_k, tail_v = (each.reshape(rows, shape.kv_heads, symbol("tail"), shape.head_dim) for each in tails)
        attention, _ = block.decode_attention(s, q, [(k, v), (tail_k, tail_v)], (symbol("kept"), symbol("tail")))
        return attention

    def _fetch(self, s: Script, home: Buffer, gpu: Place, items: str) -> Value:
        """From the drive to the host at the measured rate, one at a time, and on to the GPU."""
        with s.staging("via", s.count):
            kept, limit = View(home, 0, (symbol(items),)), self.read_bytes_per_s
            read = s.move(kept, self.host, "kv read", rate_limit_bytes_per_s=limit, after=self._last)
        self._last = (s.count - 1,)
        return s.move(read, gpu, "kv in")

    def _cache(self, where: Place, name: str, tokens: int) -> Buffer:
        extents = (self.scenario.batch, self.shape.kv_heads, tokens, self.shape.head_dim)
        return Buffer(where.device, where.tier, name, self.scenario.dtype, extents)


def flexgen_sparq(run: Run, scenario: Scenario) -> GenerationProgram:
    """Decoding with SparQ attention over a KV cache on an SSD.

    Raises:
        BadWorkload: a live run, or a model with a sliding window.
    """
    if run.live:
        raise BadWorkload(
            "flexgen_sparq fetches what its data choose, which a declared transfer cannot say: it runs virtually only; "
            "for sparse attention with values use instinfer --compression 0.125 --live"
        )
    if 0 < scenario.shape.sliding_window < scenario.max_tokens:
        raise BadWorkload(f"{scenario.shape.name} attends to a sliding window, which SparQ does not know")
    return generate(run, scenario, FlexGenSparq(scenario))
