"""The KV cache outside of the GPU, brought in layer by layer for every token: FlexGen, DeepSpeed, and plain offloading.

Paper: FlexGen, arXiv 2303.06865; DeepSpeed inference (ZeRO-Inference), arXiv 2206.01861; both as the baselines of
    InstInfer, arXiv 2409.04992, section VI.
Follows: attention on the GPU; FlexGen keeps the cache on an SSD, moves it through host memory and fetches the next
    layer while one computes; DeepSpeed keeps it in host memory and copies it through pageable memory when a layer needs
    it. Several GPUs share the layers. `dram_kv` and `cxl_kv` are neither: what pinned host memory or CXL cards give
    when nothing but the hardware is in the way, with the layers spread over the cards.
Differs: FlexGen's disk path runs at the rates that an independent study measured (``options`` of the topology), one
    transfer at a time, since the study's reads and its small appends share one path; prompts are written in long
    sequential pieces at the drive's own rate. During the prefill FlexGen keeps the keys and values of the whole prompt
    in host memory before they go to the SSD: InstInfer names such a whole-model buffer as what bounds the batch of its
    baselines (they run out at batch 128, where it would need 107 GB of 96). A pageable copy waits for the stream and
    lets nothing overtake it, as cudaMemcpy does. DeepSpeed's swapping is not modelled.
    The reading of the measured path decides the FlexGen rows, and the study does not settle it: it may have reported
    what a decode asked for, not what the path can do. With appends beside reads, dense over FlexGen at batch 64 is 5.04
    (-26 % of the published 6.85) instead of 7.07 (+3 %); with prompts at the append rate too it is 9.14 (+33 %).
Checked by: tests/live/test_generation.py (tokens against the plain run), tests/paper/test_instinfer.py.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from controller.errors import BadTopology
from controller.models.scenario import Scenario
from controller.offload.generation import BoundPlan, generate
from controller.plan.build import Operand, PlanBuilder
from controller.plan.ops import Buffer, Plan, View
from controller.plan.size import Affine, symbol
from controller.program.run import GenerationProgram, Run
from controller.strategies.lane import Lane
from controller.strategies.placement import GpuModel, devices, rows_view
from node.hardware.units import parse

Pair = tuple[Buffer, Buffer]


@dataclass(frozen=True, slots=True)
class KvPath:
    """How the cache travels.

    Attributes:
        homes: (device, tier) that hold it, the layers dealt out over them.
        through: (device, tier) that every byte passes on the way; None for directly.
        copy: path of GPU copies, ``pageable`` or "" for DMA.
        read_bytes_per_s, append_bytes_per_s: of the software in front of `homes`; 0 for as fast as the hardware.
        turns: 2 fetches a layer while another computes, 1 only when it is needed.
    """

    homes: tuple[tuple[str, str], ...]
    through: tuple[str, str] | None
    copy: str
    read_bytes_per_s: float
    append_bytes_per_s: float
    turns: int


@dataclass(frozen=True, slots=True)
class OnGpu:
    """What one GPU has for the cache: where it arrives, its layouts for attention, and where new keys leave from."""

    prompt: list[Pair]
    generated: list[Pair]
    rows_first: Pair
    by_heads: Pair
    new: list[Pair]
    out: list[Pair]

    @property
    def step_pairs(self) -> list[Pair]:
        """What decode steps use; `out` serves the prefill alone."""
        return [*self.prompt, *self.generated, self.rows_first, self.by_heads, *self.new]


class KvStreaming:
    """Decoder whose KV cache is fetched for every layer of every step."""

    def __init__(self, scenario: Scenario, path: KvPath) -> None:
        self.scenario, self.path, self.model = scenario, path, GpuModel(scenario)
        self.next_ids, self.logits = self.model.next_ids, self.model.logits
        self.shape = scenario.shape
        layers = range(self.shape.layers)
        homes = [path.homes[layer % len(path.homes)] for layer in layers]
        self._prompt = [self._prompt_pair(homes[layer], f"prompt.{layer}", scenario.batch) for layer in layers]
        self._generated = [self._generated_pair(homes[layer], f"generated.{layer}") for layer in layers]
        turns = range(path.turns)
        self._here = {gpu: self._on_gpu(gpu) for gpu in self.model.gpus}
        self._prompt_between: list[Pair] = []
        self._generated_between: list[Pair] = []
        self._held: list[Pair] = []
        self._new_between: list[Pair] = []
        if path.through is not None:
            self._prompt_between = [
                self._prompt_pair(path.through, f"prompt_via.{turn}", scenario.batch) for turn in turns
            ]
            self._generated_between = [self._generated_pair(path.through, f"generated_via.{turn}") for turn in turns]
            self._held = [self._prompt_pair(path.through, f"prefill.{layer}", scenario.batch) for layer in layers]
            self._new_between = [self._new_pair(path.through, f"new_via.{turn}") for turn in turns]
        self._one_at_a_time: tuple[int, ...] = ()
        self._first, self._later = self._step_plan(first=True), self._step_plan(first=False)

    def place(self, run: Run) -> None:
        """See `OffloadedDecoder.place`."""
        self._run = run
        self.model.place(run)
        for pair in (*self._prompt, *self._generated):
            self._place(pair)

    def prefill(self) -> Iterator[BoundPlan]:
        """See `OffloadedDecoder.prefill`."""
        leaving = [pair for here in self._here.values() for pair in here.out] + self._held
        for pair in leaving:
            self._place(pair)
        yield from self.model.prefill(self._run, "kv_streaming", self._emit_prompt)
        if self._held:
            yield BoundPlan(self._store_plan(), {})
        for pair in leaving:
            for buffer in pair:
                self._run.release(buffer)
        step = [pair for here in self._here.values() for pair in here.step_pairs]
        for pair in (*step, *self._prompt_between, *self._generated_between, *self._new_between):
            self._place(pair)

    def step(self, generated: int) -> BoundPlan:
        """See `OffloadedDecoder.step`."""
        scenario = self.scenario
        position = scenario.prompt_tokens + generated
        bindings = {"position": position}
        if generated:
            bindings |= {"slot": generated, "generated": scenario.effective_tokens(generated)}
        window = self.shape.sliding_window
        if self._windowed:
            first = max(0, position + 1 - window)
            bindings["start0"] = min(first, scenario.prompt_tokens)
            if generated:
                bindings["start1"] = min(max(0, first - scenario.prompt_tokens), generated)
        return BoundPlan(self._later if generated else self._first, bindings)

    @property
    def _windowed(self) -> bool:
        return 0 < self.shape.sliding_window < self.scenario.max_tokens

    def _place(self, pair: Pair) -> None:
        for buffer in pair:
            self._run.place(buffer, written=True)

    # -- prefill -------------------------------------------------------------------------------------------------------

    def _emit_prompt(self, build: PlanBuilder, lane: Lane, row: int | Affine) -> None:
        self._one_at_a_time = ()
        for layer in range(self.shape.layers):
            q, k, v = lane.attention_inputs(build, layer)
            here = self._here[self.model.gpu_of(layer)]
            out = [rows_view(buffer, 0, lane.rows) for buffer in here.out[layer % 2]]
            attn, *_ = lane.at(layer).prefill_attention(build, layer, q, k, v, *out)
            for part, source in enumerate(out):
                target = rows_view((self._held or self._prompt)[layer][part], row, lane.rows)
                self._gpu_copy(build, source, target, "kv out")
            lane.finish_layer(build, layer, attn)

    def _store_plan(self) -> Plan:
        build = PlanBuilder("kv_streaming store")
        before: tuple[int, ...] = ()
        for held, kept in zip(self._held, self._prompt, strict=True):
            for source, target in zip(held, kept, strict=True):
                before = (build.transfer(source, target, after=before, label="kv store"),)
        return build.plan()

    # -- decode --------------------------------------------------------------------------------------------------------

    def _step_plan(self, *, first: bool) -> Plan:
        """One step; the first has no generated tokens in the cache yet, only the new one."""
        build, lane = PlanBuilder("kv_streaming step"), self.model.lanes[0]
        self._one_at_a_time = ()
        self.model.emit_embed(build)
        fetched = self._fetch(build, 0, first)
        for layer in range(self.shape.layers):
            q, k, v = lane.attention_inputs(build, layer, symbol("position"))
            ahead = self._fetch(build, layer + 1, first) if self.path.turns > 1 else None
            attn = self._attend(build, lane, layer, (q, k, v), fetched, first)
            self._append(build, layer, (k, v), first)
            lane.finish_layer(build, layer, attn)
            fetched = ahead if ahead is not None else self._fetch(build, layer + 1, first)
        self.model.emit_heads(build)
        return build.plan()

    def _fetch(self, build: PlanBuilder, layer: int, first: bool) -> list[tuple[View, View]]:
        """Brings the cache of a layer to the GPU: the prompt by heads, and generated tokens if there are any."""
        if layer >= self.shape.layers:
            return []
        turn, here = layer % self.path.turns, self._here[self.model.gpu_of(layer)]
        tokens = self.scenario.effective_tokens(self.scenario.prompt_tokens)
        whole = tokens == self.scenario.prompt_tokens
        fetched: list[tuple[View, View]] = []
        pieces = [(self._prompt[layer], self._prompt_between, here.prompt[turn])]
        if not first:
            pieces.append((self._generated[layer], self._generated_between, here.generated[turn]))
        for number, (home, between, arrived) in enumerate(pieces):
            views: list[View] = []
            for part in range(2):
                parts = [home[part], *([between[turn][part]] if between else []), arrived[part]]
                if number:
                    hops = [View(buffer, 0, (symbol("generated"), *buffer.shape[1:])) for buffer in parts]
                elif whole:
                    hops = [buffer.view() for buffer in parts]
                else:
                    # An effective context below the stated one: that share of the bytes.
                    share = self.scenario.batch * self.shape.kv_size * tokens
                    hops = [View(buffer, 0, (share,)) for buffer in parts]
                self._copy(build, hops)
                views.append(hops[-1] if number else arrived[part].view())
            fetched.append((views[0], views[1]))
        return fetched

    def _copy(self, build: PlanBuilder, hops: list[View]) -> None:
        if len(hops) == 3:
            limit = self.path.read_bytes_per_s
            read = build.transfer(
                hops[0], hops[1], rate_limit_bytes_per_s=limit, after=self._one_at_a_time, label="kv read"
            )
            self._one_at_a_time = (read,)
        self._gpu_copy(build, hops[-2], hops[-1], "kv in")

    def _gpu_copy(self, build: PlanBuilder, source: View, target: View, label: str) -> None:
        """A copy to or from the GPU. With pageable memory it waits for the stream, and copies take turns."""
        if self.path.copy != "pageable":
            build.transfer(source, target, label=label)
            return
        before = (*self._one_at_a_time, *((build.count - 1,) if build.count else ()))
        self._one_at_a_time = (build.transfer(source, target, path=self.path.copy, after=before, label=label),)

    def _attend(
        self,
        build: PlanBuilder,
        lane: Lane,
        layer: int,
        qkv: tuple[View, View, View],
        fetched: list[tuple[View, View]],
        first: bool,
    ) -> View:
        rows, shape, gpu = lane.rows, self.shape, self.model.gpu_of(layer)
        here = self._here[gpu]
        new = (rows, shape.kv_heads, 1, shape.head_dim)
        segments: list[tuple[Operand, Operand]] = [fetched[0]]
        tokens: list[int | Affine] = [self.scenario.effective_tokens(self.scenario.prompt_tokens)]
        if not first:
            by_heads: list[View] = []
            for part, source in enumerate(fetched[1]):
                rows_first = View(here.rows_first[part], 0, (rows, symbol("generated"), shape.kv_size))
                heads = View(here.by_heads[part], 0, (rows, shape.kv_heads, symbol("generated"), shape.head_dim))
                build.kernel("swap_axes", gpu, [source], [rows_first])
                build.kernel("to_heads", gpu, [rows_first], [heads], heads=shape.kv_heads)
                by_heads.append(heads)
            segments.append((by_heads[0], by_heads[1]))
            tokens.append(symbol("generated"))
        segments.append((qkv[1].reshape(*new), qkv[2].reshape(*new)))
        tokens.append(1)
        starts: tuple[int | Affine, ...] = ()
        if self._windowed and shape.window(layer):
            starts = (symbol("start0"), *(() if first else (symbol("start1"),)), 0)
        return lane.at(layer).decode_attention(build, qkv[0], segments, tokens, starts)

    def _append(self, build: PlanBuilder, layer: int, kv: tuple[View, View], first: bool) -> None:
        """The new keys and values go home, as the next row of the generated tokens."""
        turn, gpu = layer % self.path.turns, self.model.gpu_of(layer)
        for part, view in enumerate(kv):
            out = self._here[gpu].new[turn][part]
            build.kernel("copy", gpu, [view], [out.view().reshape(*out.shape)])
            target = rows_view(self._generated[layer][part], 0 if first else symbol("slot"), 1)
            hops = [out.view(), *([self._new_between[turn][part].view()] if self._new_between else []), target]
            self._gpu_copy(build, hops[0], hops[1], "kv out")
            if len(hops) == 3:
                limit = self.path.append_bytes_per_s
                append = build.transfer(
                    hops[1], hops[2], rate_limit_bytes_per_s=limit, after=self._one_at_a_time, label="kv append"
                )
                self._one_at_a_time = (append,)

    # -- buffers -------------------------------------------------------------------------------------------------------

    def _on_gpu(self, gpu: str) -> OnGpu:
        here, turns = (gpu, "hbm"), range(self.path.turns)
        return OnGpu(
            [self._prompt_pair(here, f"prompt_in.{turn}", self.scenario.batch) for turn in turns],
            [self._generated_pair(here, f"generated_in.{turn}") for turn in turns],
            self._generated_pair(here, "rows_first"),
            self._generated_pair(here, "by_heads"),
            [self._new_pair(here, f"new_out.{turn}") for turn in turns],
            [self._prompt_pair(here, f"prompt_out.{turn}", self.model.pass_rows) for turn in range(2)],
        )

    def _pair(self, where: tuple[str, str], name: str, extents: tuple[int, ...]) -> Pair:
        dtype = self.scenario.dtype
        return Buffer(*where, f"{name}.k", dtype, extents), Buffer(*where, f"{name}.v", dtype, extents)

    def _prompt_pair(self, where: tuple[str, str], name: str, rows: int) -> Pair:
        shape = self.shape
        return self._pair(where, name, (rows, shape.kv_heads, self.scenario.prompt_tokens, shape.head_dim))

    def _generated_pair(self, where: tuple[str, str], name: str) -> Pair:
        """Token-major, so that the tokens so far are one range of bytes."""
        return self._pair(where, name, (self.scenario.output_tokens, self.scenario.batch, self.shape.kv_size))

    def _new_pair(self, where: tuple[str, str], name: str) -> Pair:
        return self._pair(where, name, (self.scenario.batch, self.shape.kv_size))


def flexgen(run: Run, scenario: Scenario) -> GenerationProgram:
    """Decoding with the KV cache on an SSD, through host memory."""
    host = devices(scenario, "cpu", "what passes between SSD and GPU")[0].name
    drive = devices(scenario, "csd", "the KV cache")[0].name
    path = KvPath(
        ((drive, "flash"),),
        (host, "dram"),
        "",
        flexgen_rate(scenario, "flexgen.read"),
        flexgen_rate(scenario, "flexgen.append"),
        2,
    )
    return generate(run, scenario, KvStreaming(scenario, path))


def deepspeed(run: Run, scenario: Scenario) -> GenerationProgram:
    """Decoding with the KV cache in host memory, by pageable copies."""
    host = devices(scenario, "cpu", "the KV cache")[0].name
    return generate(run, scenario, KvStreaming(scenario, KvPath(((host, "dram"),), None, "pageable", 0.0, 0.0, 1)))


def dram_kv(run: Run, scenario: Scenario) -> GenerationProgram:
    """Decoding with the KV cache in pinned host memory, the next layer on its way while one computes."""
    host = devices(scenario, "cpu", "the KV cache")[0].name
    return generate(run, scenario, KvStreaming(scenario, KvPath(((host, "dram"),), None, "", 0.0, 0.0, 2)))


def cxl_kv(run: Run, scenario: Scenario) -> GenerationProgram:
    """Decoding with the KV cache on CXL memory cards, layers dealt out over them, fetched by the GPU directly."""
    cards = tuple((card.name, "cxl") for card in devices(scenario, "cxl", "the KV cache"))
    return generate(run, scenario, KvStreaming(scenario, KvPath(cards, None, "", 0.0, 0.0, 2)))


def flexgen_rate(scenario: Scenario, option: str) -> float:
    """A measured rate of FlexGen's path to its disk, from the options of the topology [bytes/s].

    Raises:
        BadTopology: it declares none.
    """
    text = scenario.topology.options.get(option)
    if text is None:
        raise BadTopology(
            f"topology {scenario.topology.name!r} lacks the option {option}, the rate of the software path to the SSD; "
            f"add it under options: or with --set options.{option}='2 GiB/s'"
        )
    return float(parse(text, "bytes/s"))
