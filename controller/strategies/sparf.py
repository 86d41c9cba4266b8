"""InstInfer with SparF attention: the drives read the pages that matter instead of the whole KV cache.

Paper: InstAttention, HPCA 2025, doi 10.1109/HPCA61900.2025.00113, section IV-C and algorithm 1.
Follows: K twice in flash, once by tokens and once by channels, V once by tokens, so half as much again is stored and
    written; the running mean of V in drive DRAM; r channels of |q| choose k tokens (r of d and k of the context are
    both the option `compression`); drives hold heads, and every head chooses for itself.
Differs: a group of 16 tokens is flushed to both layouts at once; the paper does not say how a channel-indexed page of
    256 tokens and more is filled while tokens come one by one. What a drive reads is data; on the virtual clock it is
    a share of the pages (below). The last tokens get no preference (recency mask of length 0) unless `recent` says so.
    No sliding windows, and no model with fewer KV heads than drives.
Checked by: tests/unit/node/compute/test_sparse_attention.py (the algorithm written out), tests/live/test_sparf.py,
    tests/paper/test_instinfer.py.

Pages. The paper states that skipping whole pages keeps about half of the data at 1/8 compression, and its table III
(0.527 of dense) agrees. Were the tokens chosen independently, a page of 16 would be touched with 1 - (7/8)^16 = 88 %;
that it is less says that neighbours are chosen together. With n independent choices a page, a share
1 - (1 - c)^n of the pages is touched at compression c; K in both layouts and V make three reads of it, over the two of
dense attention. n follows from the stated half; it is an attribute of the paper's text and data, not of our hardware.
A live run counts the pages that its data really touch and prints that ratio beside this one.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import log

from controller.errors import BadWorkload
from controller.models.scenario import Scenario
from controller.offload.generation import generate
from controller.plan.build import PlanBuilder
from controller.plan.ops import Buffer, View
from controller.plan.size import Affine, symbol
from controller.program.run import Program, Run
from controller.strategies.instinfer import InstInfer
from controller.strategies.kv_spread import GROUP_TOKENS
from controller.strategies.placement import rows_view

STATED_COMPRESSION, STATED_PAGE_RATIO = 1 / 8, 0.5
"""The page-level filters keep about half of what dense attention reads, at the default compression (section IV-C)."""
LAYOUTS = 1.5
"""K by channels, K by tokens and V, over K and V of dense attention."""


def page_share(compression: float) -> float:
    """Share of the pages of each layout that is read.

    Args:
        compression: share of the channels and of the tokens that is kept, in (0, 1].
    """
    if compression >= 1.0:
        return 1.0
    choices = log(1.0 - STATED_PAGE_RATIO / LAYOUTS) / log(1.0 - STATED_COMPRESSION)
    return float(1.0 - (1.0 - compression) ** choices)


class Sparf(InstInfer):
    """`InstInfer` whose drives compute SparF attention."""

    def __init__(self, scenario: Scenario) -> None:
        self.compression = share_option(scenario, "compression", STATED_COMPRESSION)
        self.share = page_share(self.compression)
        if "page_ratio" in scenario.options:
            self.share = share_option(scenario, "page_ratio", 1.0, LAYOUTS) / LAYOUTS
        self.recent = _count(scenario, "recent")
        super().__init__(scenario)
        if self.spread.by_tokens:
            raise BadWorkload(
                f"SparF spreads KV heads over drives, and {scenario.shape.name} has {scenario.shape.kv_heads} for "
                f"{len(self.drives)} drives; take fewer drives"
            )
        if self._windowed:
            raise BadWorkload(
                f"{scenario.shape.name} attends to a window of {scenario.shape.sliding_window} tokens, which SparF "
                f"does not know; leave --compression away"
            )
        self.channels = max(1, round(self.compression * self.shape.head_dim))
        layers, drives = range(self.shape.layers), self._every_drive
        self.by_channels = [[self._by_channels(layer, drive) for drive in drives] for layer in layers]
        self.means = [[self._mean(self.drives[drive], "dram", drive, f"mean{layer}") for drive in drives]
                      for layer in layers]  # fmt: skip
        self.counts = [
            [Buffer(self.drives[drive], "dram", f"pages{lane}", "fp32", (2,)) for drive in drives]
            for lane in self._every_lane
        ]
        self.leaving = {
            gpu: [[self._leaving(gpu, turn, drive) for drive in drives] for turn in range(2)] for gpu in self.model.gpus
        }

    def more_buffers(self) -> Iterator[Buffer]:
        """See `InstInfer.more_buffers`: K by channels, means of V, counts of pages."""
        for pairs, means in zip(self.by_channels, self.means, strict=True):
            for pair in pairs:
                yield from pair
            yield from means
        for counts in self.counts:
            yield from counts

    def more_prefill_buffers(self) -> Iterator[Buffer]:
        """See `InstInfer.more_prefill_buffers`: K by channels and means on their way out."""
        for turns in self.leaving.values():
            for drives in turns:
                for buffers in drives:
                    yield from buffers

    def emit_pushed(
        self, build: PlanBuilder, layer: int, part: int, drive: int, outbound: View, row: int | Affine
    ) -> None:
        """See `InstInfer.emit_pushed`: the second layout of K, and the mean of V."""
        gpu, tokens = self.model.gpu_of(layer), self.scenario.prompt_tokens
        rows = outbound.shape[0]
        assert isinstance(rows, int)
        by_channels, mean, zero = (rows_view(buffer, 0, rows) for buffer in self.leaving[gpu][layer % 2][drive])
        if part == 0:
            build.kernel("channel_write", gpu, [outbound], [by_channels], position=0, tokens=tokens)
            build.transfer(by_channels, rows_view(self.by_channels[layer][drive][0], row, rows), label="kv push")
        else:
            build.kernel("running_mean", gpu, [zero, outbound], [mean], count=0, tokens=tokens)
            build.transfer(mean, rows_view(self.means[layer][drive], row, rows), label="mean push")

    def emit_attention(self, build: PlanBuilder, layer: int, drive: int, lane: int) -> None:
        """See `InstInfer.emit_attention`."""
        start, stop = self.model.row_ranges[lane]
        rows, shape = stop - start, self.shape
        share, landing, cache = self.spread.shares[drive], self.landings[lane][drive], self.caches[layer][drive]
        name, counts = self.drives[drive], self.counts[lane][drive]
        mean = self.means[layer][drive].rows(start, stop)
        new = landing.v.view().reshape(rows, share.kv_head_count, 1, shape.head_dim)
        build.kernel("running_mean", name, [mean, new], [mean], count=symbol("position"), tokens=1)
        prompt, generated = self.by_channels[layer][drive]
        segments = [prompt, *cache.prompt, generated, *cache.generated, *cache.tail]
        query = landing.q.view().reshape(rows, share.head_count, shape.head_dim)
        build.kernel(
            "sparf_attention", name, [query, mean, counts, *(buffer.rows(start, stop) for buffer in segments)],
            [landing.out, counts],
            tokens=(self.scenario.effective_tokens(share.prompt_tokens), symbol("flushed0"), symbol("tail0")),
            channels=self.channels, keep=symbol("keep"), recent=self.recent, scale=shape.attention_scale,
            page_share=self.share, group_tokens=GROUP_TOKENS,
        )  # fmt: skip

    def emit_flush(self, build: PlanBuilder, layer: int, drive: int, lane: int) -> None:
        """See `InstInfer.emit_flush`: the group goes to the layout by channels too."""
        super().emit_flush(build, layer, drive, lane)
        start, stop = self.model.row_ranges[lane]
        build.kernel(
            "channel_write", self.drives[drive], [self.caches[layer][drive].tail[0].rows(start, stop)],
            [self.by_channels[layer][drive][1].rows(start, stop)],
            position=symbol("stored0"), tokens=GROUP_TOKENS, label="kv flush",
        )  # fmt: skip

    def bindings(self, generated: int) -> dict[str, int]:
        """See `InstInfer.bindings`: with the number of tokens kept of the context so far."""
        bound = super().bindings(generated)
        prompt = self.scenario.effective_tokens(self.spread.shares[0].prompt_tokens)
        context = prompt + bound["flushed0"] + bound["tail0"]
        return {**bound, "keep": max(1, self.recent, round(self.compression * context))}

    def _by_channels(self, layer: int, drive: int) -> tuple[Buffer, Buffer]:
        share, scenario, dim = self.spread.shares[drive], self.scenario, self.shape.head_dim
        capacity = self.spread.generated_capacity(scenario.output_tokens)

        def buffer(name: str, tokens: int) -> Buffer:
            extents = (scenario.batch, share.kv_head_count, dim, tokens)
            return Buffer(self.drives[drive], "flash", f"{name}_c{layer}", scenario.dtype, extents)

        return buffer("prompt", share.prompt_tokens), buffer("generated", capacity)

    def _mean(self, device: str, tier: str, drive: int, name: str, rows: int | None = None) -> Buffer:
        extents = (rows or self.scenario.batch, self.spread.shares[drive].kv_head_count, self.shape.head_dim)
        return Buffer(device, tier, name, "fp32", extents)

    def _leaving(self, gpu: str, turn: int, drive: int) -> tuple[Buffer, Buffer, Buffer]:
        """On a GPU: K by channels and the mean of V for a drive, and zeros for the mean to start from."""
        share, rows = self.spread.shares[drive], self.model.pass_rows
        extents = (rows, share.kv_head_count, self.shape.head_dim, share.prompt_tokens)
        name = f"leaving{turn}.{self.drives[drive]}"
        return (
            Buffer(gpu, "hbm", f"{name}.c", self.scenario.dtype, extents),
            self._mean(gpu, "hbm", drive, f"{name}.mean", rows),
            self._mean(gpu, "hbm", drive, f"{name}.zero", rows),
        )


def sparf(run: Run, scenario: Scenario) -> Program:
    """Decoding with the KV cache and SparF attention in drives; reports the share of pages read."""
    decoder = Sparf(scenario)
    run.report("page_ratio_declared", decoder.share * LAYOUTS)
    yield from generate(run, scenario, decoder)
    touched = held = 0.0
    for lane in decoder.counts:
        for buffer in lane:
            counts = yield run.fetch(buffer)
            if counts is not None:
                touched, held = touched + float(counts[0]), held + float(counts[1])
    if held:
        run.report("page_ratio_measured", touched / held)


def share_option(scenario: Scenario, option: str, default: float, most: float = 1.0) -> float:
    """An option that is a share.

    Raises:
        BadWorkload: not above 0, or above `most`.
    """
    text = scenario.options.get(option)
    try:
        value = default if text is None else float(text)
    except ValueError:
        value = -1.0
    if not 0.0 < value <= most:
        raise BadWorkload(f"--{option.replace('_', '-')} {text}: a share above 0, at most {most:g}, for example 0.125")
    return value


def _count(scenario: Scenario, option: str) -> int:
    text = scenario.options.get(option, "0")
    if not (text.isascii() and text.isdigit()):
        raise BadWorkload(f"--{option} {text}: a whole number of tokens, for example 8")
    return int(text)
