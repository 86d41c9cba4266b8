"""SparF attention: a drive reads the pages that matter instead of the whole KV cache.

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

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import log

from controller.errors import BadWorkload
from controller.models.block import Block
from controller.models.scenario import Scenario
from controller.offload.gpu_model import GpuModel, rows_view
from controller.offload.kv_spread import GROUP_TOKENS, KvSpread
from controller.offload.storage_attention import Attended, Caches
from controller.plan.ops import Buffer
from controller.plan.script import Script, Value
from controller.plan.size import Size, symbol
from controller.program.options import Count, Options, Share, option
from controller.program.run import Program, Run

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


@dataclass(frozen=True)
class SparfOptions(Options):
    """What a system with sparse attention in drives takes."""

    compression: Share | None = option(
        None, "SparF attention: share of channels and tokens kept, such as 0.125; absent: dense"
    )
    page_ratio: Share | None = option(
        None, "flash pages that SparF reads, over those of dense attention, on the virtual clock", most=LAYOUTS
    )
    recent: Count = option(0, "last tokens that SparF always keeps", least=0)

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("page_ratio", "recent"):
            if self.compression is None and name in self.given:
                raise BadWorkload(
                    f"option {name} is of sparse attention, and this run is dense; add --compression 0.125, or "
                    f"remove it"
                )


class Sparf:
    """Sparse attention over every drive of a system, with what it keeps beside keys and values."""

    def __init__(self, scenario: Scenario, spread: KvSpread, caches: Caches, model: GpuModel) -> None:
        """Allocates nothing.

        Raises:
            BadWorkload: tokens spread over drives, a model with a sliding window, or a cache of another type.
        """
        options = SparfOptions.of(scenario.options)
        if scenario.kv_dtype != scenario.dtype:
            raise BadWorkload(
                f"--compression with a KV cache in {scenario.kv_dtype}: sparse attention reads what it computes in; "
                f"remove --compression, or write --kv-dtype auto"
            )
        self.compression = STATED_COMPRESSION if options.compression is None else options.compression
        self.share = page_share(self.compression)
        if options.page_ratio is not None:
            self.share = options.page_ratio / LAYOUTS
        self.recent = options.recent
        self._scenario, self._spread, self._caches, shape = scenario, spread, caches, scenario.shape
        if spread.by_tokens:
            raise BadWorkload(
                f"SparF spreads KV heads over drives, and {shape.name} has {shape.kv_heads} for {spread.drives} drives"
                f"; use fewer drives"
            )
        if 0 < shape.sliding_window < scenario.max_tokens:
            raise BadWorkload(
                f"{shape.name} attends to a window of {shape.sliding_window} tokens, which SparF does not know; "
                f"remove --compression"
            )
        self.channels = max(1, round(self.compression * shape.head_dim))
        capacity, batch, dim = spread.generated_capacity(scenario.output_tokens), scenario.batch, shape.head_dim
        drives = [cache.drive for cache in caches[0]]
        counts = [share.kv_head_count for share in spread.shares]
        self.by_channels = [
            [
                tuple(
                    Buffer(drive, "flash", f"{name}_c{layer}", scenario.dtype, (batch, count, dim, tokens))
                    for name, tokens in (("prompt", share.prompt_tokens), ("generated", capacity))
                )
                for drive, count, share in zip(drives, counts, spread.shares, strict=True)
            ]
            for layer in range(shape.layers)
        ]
        self.means = [
            [
                Buffer(drive, "dram", f"mean{layer}", "fp32", (batch, count, dim))
                for drive, count in zip(drives, counts, strict=True)
            ]
            for layer in range(shape.layers)
        ]
        self.counts = [
            [Buffer(drive, "dram", f"pages{lane}", "fp32", (2,)) for drive in drives]
            for lane in range(len(model.row_ranges))
        ]

        # Means of V begin at zero, on every GPU and for every number of heads that a drive has.
        self._zeros = {
            (gpu, count): Buffer(gpu, "hbm", f"zero_mean{count}", "fp32", (model.pass_rows, count, dim))
            for gpu in model.gpus
            for count in dict.fromkeys(counts)
        }

    @property
    def buffers(self) -> Iterable[Buffer]:
        """K by channels, means of V, counts of pages."""
        for pairs, means in zip(self.by_channels, self.means, strict=True):
            for pair in pairs:
                yield from (buffer for buffer in pair if buffer.nbytes)
            yield from means
        for counts in self.counts:
            yield from counts
        yield from self._zeros.values()

    def pushed(self, s: Script, layer: int, part: int, drive: int, by_heads: Value, row: Size) -> None:
        """The second layout of K, and the mean of V."""
        rows, kv_heads, tokens, dim = by_heads.shape
        assert isinstance(rows, int) and isinstance(tokens, int)
        if part == 0:
            by_channels = (by_heads.dtype, (rows, kv_heads, dim, tokens))
            made = s.op("channel_write", by_heads, makes=[by_channels], position=0, tokens=tokens)
            s.move(made, rows_view(self.by_channels[layer][drive][0], row, rows), "kv push", connection="kv")
            return
        assert isinstance(kv_heads, int)
        zero = rows_view(self._zeros[by_heads.place.device, kv_heads], 0, rows)
        made = s.op("running_mean", zero, by_heads, makes=[("fp32", (rows, kv_heads, dim))], count=0, tokens=tokens)
        s.move(made, rows_view(self.means[layer][drive], row, rows), "mean push", connection="kv")

    def attend(
        self, s: Script, block: Block, drive: int, lane: int, q: Value, new: Sequence[Value], rows: tuple[int, int],
        number: int, starts: Sequence[Size],
    ) -> Attended:  # fmt: skip
        """The running mean of V takes in the new token; then the pages that q chooses are read."""
        shape, share, cache = block.shape, self._spread.shares[drive], self._caches[block.layer][drive]
        count = rows[1] - rows[0]
        counts, mean = self.counts[lane][drive], self.means[block.layer][drive].rows(*rows)
        value = new[1].reshape(count, share.kv_head_count, 1, shape.head_dim)
        s.op("running_mean", mean, value, on=q.place, out=mean, count=symbol("position"), tokens=1)
        prompt, generated = self.by_channels[block.layer][drive]
        segments = [prompt, *cache.prompt, generated, *cache.generated, *cache.tail]
        query = q.reshape(count, share.head_count, shape.head_dim)
        out = s.empty(q.place, q.dtype, query.shape)
        s.op(
            "sparf_attention", query, mean, counts, *(buffer.rows(*rows) for buffer in segments), out=(out, counts),
            tokens=(self._scenario.effective_tokens(share.prompt_tokens), symbol("flushed0"), symbol("tail0")),
            channels=self.channels, keep=symbol("keep"), recent=self.recent, scale=shape.attention_scale,
            page_share=self.share, group_tokens=GROUP_TOKENS,
        )  # fmt: skip
        return out, None

    def flushed(self, s: Script, layer: int, drive: int, rows: tuple[int, int], stored: Size) -> None:
        """The group goes to the layout by channels too."""
        s.op(
            "channel_write", self._caches[layer][drive].tail[0].rows(*rows),
            out=self.by_channels[layer][drive][1].rows(*rows), position=stored, tokens=GROUP_TOKENS, label="kv flush",
        )  # fmt: skip

    def bindings(self, bindings: dict[str, int]) -> dict[str, int]:
        """With the number of tokens kept of the context so far."""
        prompt = self._scenario.effective_tokens(self._spread.shares[0].prompt_tokens)
        context = prompt + bindings["flushed0"] + bindings["tail0"]
        return {**bindings, "keep": max(1, self.recent, round(self.compression * context))}

    def announce(self, run: Run) -> Program:
        """The declared share of pages."""
        run.figure("page_ratio_declared", self.share * LAYOUTS)
        yield from ()

    def measure(self, run: Run) -> Program:
        """The share of pages that the data touched."""
        touched = held = 0.0
        for lane in self.counts:
            for buffer in lane:
                counts = yield run.fetch(buffer)
                if counts is not None:
                    touched, held = touched + float(counts[0]), held + float(counts[1])
        if held:
            run.figure("page_ratio_measured", touched / held)
