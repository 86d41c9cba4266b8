"""A KV cache outside of the GPU, brought in layer by layer for every token, with attention on the GPU.

Prompt and generated tokens are two segments. Generated ones lie token-major, so that the tokens so far are one range of
bytes, and are turned to heads on the GPU; the new token's keys and values are a third segment, which leaves for home as
the next row of the second.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from controller.models.block import Block
from controller.models.scenario import Scenario
from controller.offload.generation import BoundPlan
from controller.offload.gpu_model import GpuModel, rows_view
from controller.plan.build import as_view
from controller.plan.ops import Buffer, Plan, View
from controller.plan.script import Script, Source, Value
from controller.plan.size import Affine, Size, symbol
from controller.plan.value import Place
from controller.program.run import Run

Pair = tuple[Buffer, Buffer]
_GENERATED = symbol("generated")


@dataclass(frozen=True, slots=True)
class KvPath:
    """How the cache travels.

    Attributes:
        homes: tiers that hold it, with the layers distributed over them.
        through: the tier that every byte passes on the way; None for directly.
        copy: path of GPU copies, ``pageable`` or "" for DMA.
        read_bytes_per_s, append_bytes_per_s: of the software in front of `homes`; 0 for as fast as the hardware
            [bytes/s].
        ahead: layers that are fetched while another computes, 0 or 1.
        in_step: a layer's cache sets out only when all of the one before has arrived.
    """

    homes: tuple[Place, ...]
    through: Place | None = None
    copy: str = ""
    read_bytes_per_s: float = 0.0
    append_bytes_per_s: float = 0.0
    ahead: int = 1
    in_step: bool = False


class KvStreaming:
    """Decoder whose KV cache is fetched for every layer of every step."""

    def __init__(self, scenario: Scenario, path: KvPath) -> None:
        self.scenario, self.path, self.model, self.shape = scenario, path, GpuModel(scenario), scenario.shape
        self.next_ids, self.logits = self.model.next_ids, self.model.logits
        layers = range(self.shape.layers)
        homes = [path.homes[layer % len(path.homes)] for layer in layers]
        self._prompt = [self._prompt_pair(homes[layer], f"prompt.{layer}") for layer in layers]
        self._generated = [self._generated_pair(homes[layer], f"generated.{layer}") for layer in layers]
        passing = path.through if path.through not in path.homes else None
        self._held = [self._prompt_pair(passing, f"prefill.{layer}") for layer in layers] if passing else []
        self._queue: tuple[int, ...] = ()
        """The transfer that the next one on the software's path follows."""
        self._first, self._later = self._step_plan(first=True), self._step_plan(first=False)

    def place(self, run: Run) -> None:
        self._run = run
        self.model.place(run)
        for buffer in (buffer for pair in (*self._prompt, *self._generated) for buffer in pair):
            run.place(buffer, written=True)

    def prefill(self) -> Iterator[BoundPlan]:
        held = [buffer for pair in self._held for buffer in pair]
        for buffer in held:
            self._run.place(buffer, written=True)
        yield from self.model.prefill(self._run, "kv_streaming", self._emit_prompt)
        if held:
            yield BoundPlan(self._store_plan(), {})
        for buffer in held:
            self._run.release(buffer)

    def step(self, generated: int) -> BoundPlan:
        scenario, position = self.scenario, self.scenario.prompt_tokens + generated
        bindings = {"position": position}
        if generated:
            bindings |= {"slot": generated, "generated": scenario.effective_tokens(generated)}
        if self._windowed:
            first = max(0, position + 1 - self.shape.sliding_window)
            bindings["start0"] = scenario.effective_start(first, scenario.prompt_tokens)
            if generated:
                bindings["start1"] = scenario.effective_start(max(0, first - scenario.prompt_tokens), generated)
        return BoundPlan(self._later if generated else self._first, bindings, self.model.scratch)

    @property
    def _windowed(self) -> bool:
        return 0 < self.shape.sliding_window < self.scenario.max_tokens

    # -- prefill -------------------------------------------------------------------------------------------------------

    def _emit_prompt(self, s: Script, x: Value, row: Affine) -> Value:
        self._queue, rows = (), x.shape[0]
        assert isinstance(rows, int)

        def leave(layer: int, out: list[Value]) -> None:
            for source, kept in zip(out, (self._held or self._prompt)[layer], strict=True):
                self._gpu_copy(s, source, rows_view(kept, row, rows), "kv out")

        return self.model.leaving_prompt(s, x, leave)

    def _store_plan(self) -> Plan:
        """The prompts go home one after the other, in long sequential pieces."""
        s = Script("kv_streaming store")
        for held, kept in zip(self._held, self._prompt, strict=True):
            for source, target in zip(held, kept, strict=True):
                s.move(source, target, "kv store", after=(s.count - 1,) if s.count else ())
        return s.plan()

    # -- decode --------------------------------------------------------------------------------------------------------

    def _step_plan(self, *, first: bool) -> Plan:
        """One step; the first has no generated tokens in the cache yet, only the new one."""
        s = Script("kv_streaming step", self.model.scratch, {"generated": self.scenario.output_tokens})
        self._queue, layers = (), self.shape.layers
        (x,) = self.model.embed(s)
        fetched = self._fetch(s, 0, first)
        for layer in range(layers):
            x, block = self.model.enter(s, layer, x), self.model.block(layer)
            q, *new = block.qkv(s, x, symbol("position"))
            following = self._fetch(s, layer + 1, first) if self.path.ahead and layer + 1 < layers else None
            attention = self._attend(s, block, q, new, fetched)
            self._append(s, block, new, first)
            x = block.finish(s, x, attention)
            if layer + 1 < layers:
                fetched = following or self._fetch(s, layer + 1, first)
        self.model.finish(s, [x])
        return s.plan()

    def _fetch(self, s: Script, layer: int, first: bool) -> list[list[Value]]:
        """Brings the cache of a layer to the GPU: keys and values of the prompt by heads, and of generated tokens."""
        gpu, fetched = self.model.place_of(layer), []
        hops = [*([self.path.through] if self.path.through else []), gpu]
        tokens = self.scenario.effective_tokens(self.scenario.prompt_tokens)
        # An effective context below the stated one: that share of the bytes.
        share = None if tokens == self.scenario.prompt_tokens else self.scenario.batch * self.shape.kv_size * tokens
        arrived: list[int] = []
        with s.staging("fetched", layer, self.path.ahead + 1):
            fetched.append([self._bring(s, home.view(), hops, share, arrived) for home in self._prompt[layer]])
            if not first:
                homes = self._generated[layer]
                views = [View(home, 0, (_GENERATED, *home.shape[1:])) for home in homes]
                fetched.append([self._bring(s, view, hops, None, arrived) for view in views])
        if self.path.in_step:
            self._queue = tuple(arrived)
        return fetched

    def _bring(self, s: Script, source: Source, hops: Sequence[Place], share: int | None, arrived: list[int]) -> Value:
        """`source` over `hops`; only its first `share` elements where that is given. Adds the last op to `arrived`."""
        for hop in hops:
            target: Place | Value = hop
            if share is not None:
                whole = s.empty(hop, self.scenario.kv_dtype, source.shape, partial=True)
                target = whole.part(0, (share,))
                source = (
                    source.part(0, (share,)) if isinstance(source, Value) else View(as_view(source).buffer, 0, (share,))
                )
            if hop is hops[-1]:
                moved = self._gpu_copy(s, source, target, "kv in")
            else:
                limit = self.path.read_bytes_per_s
                moved = s.move(source, target, "kv read", rate_limit_bytes_per_s=limit, after=self._queue)
                self._queue = (s.count - 1,)
            source = moved if share is None else whole
        arrived.append(s.count - 1)
        assert isinstance(source, Value)
        return source

    def _gpu_copy(self, s: Script, source: Source, to: Place | Source, label: str) -> Value:
        """A copy to or from the GPU. With pageable memory it waits for the stream, and copies follow one another."""
        if self.path.copy != "pageable":
            return s.move(source, to, label)
        before = (*self._queue, *((s.count - 1,) if s.count else ()))
        moved = s.move(source, to, label, path=self.path.copy, after=before)
        self._queue = (s.count - 1,)
        return moved

    def _attend(self, s: Script, block: Block, q: Value, new: Sequence[Value], fetched: list[list[Value]]) -> Value:
        rows, shape = self.scenario.batch, self.shape
        segments: list[list[Value]] = [fetched[0]]
        tokens: list[Size] = [self.scenario.effective_tokens(self.scenario.prompt_tokens)]
        for generated in fetched[1:]:
            segments.append([block.to_heads(s, s.op("swap_axes", part)) for part in generated])
            tokens.append(_GENERATED)
        segments.append([part.reshape(rows, shape.kv_heads, 1, shape.head_dim) for part in new])
        tokens.append(1)
        starts: list[Size] = []
        if self._windowed and shape.window(block.layer):
            starts = [symbol("start0"), *([symbol("start1")] if fetched[1:] else []), 0]
        attention, _ = block.decode_attention(s, q, [(k, v) for k, v in segments], tokens, starts)
        return attention

    def _append(self, s: Script, block: Block, new: Sequence[Value], first: bool) -> None:
        """The new keys and values go home, as the next row of the generated tokens."""
        slot: Size = 0 if first else symbol("slot")
        with s.staging("new", block.layer, self.path.ahead + 1):
            for part, home in zip(new, self._generated[block.layer], strict=True):
                kept = block.cached(s, part)
                leaving = s.op("copy", part) if kept is part else kept
                target = rows_view(home, slot, 1)
                if self.path.through is None:
                    self._gpu_copy(s, leaving, target, "kv out")
                    continue
                held = self._gpu_copy(s, leaving, self.path.through, "kv out")
                limit = self.path.append_bytes_per_s
                s.move(held, target, "kv append", rate_limit_bytes_per_s=limit, after=self._queue)
                self._queue = (s.count - 1,)

    # -- buffers -------------------------------------------------------------------------------------------------------

    def _prompt_pair(self, where: Place, name: str) -> Pair:
        shape, scenario = self.shape, self.scenario
        return self._pair(where, name, (scenario.batch, shape.kv_heads, scenario.prompt_tokens, shape.head_dim))

    def _generated_pair(self, where: Place, name: str) -> Pair:
        return self._pair(where, name, (self.scenario.output_tokens, self.scenario.batch, self.shape.kv_size))

    def _pair(self, where: Place, name: str, extents: tuple[int, ...]) -> Pair:
        k, v = (Buffer(where.device, where.tier, f"{name}.{part}", self.scenario.kv_dtype, extents) for part in "kv")
        return k, v
