"""Times of iterations of one instance on its devices: parts executed once, and added up."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from controller.execute.virtual import VirtualRun
from controller.serving.device_times.grid import between, on_line
from controller.serving.device_times.hops import HopTimes
from controller.serving.device_times.nano_batches import overlap_ratio
from controller.serving.device_times.parts import IterationParts, PartPlan
from controller.serving.device_times.swaps import SwapTimes
from controller.serving.iteration_times import IterationLoad
from controller.topology.schema import Topology

GRAIN = 8
"""Executed sizes an octave."""


@dataclass(frozen=True, slots=True)
class HostCosts:
    """What the host does between two iterations while the devices wait [s].

    Attributes:
        step_s: an iteration.
        sequence_s: every request in it.
    """

    step_s: float = 0.0
    sequence_s: float = 0.0


class DeviceTimes:
    """Implements `IterationTimes` by executing plans.

    Attributes:
        parts: plans.
        host: the host's work.
        executed: plans that were executed.
        loads: how often each rounded iteration was asked for, for the audit.
    """

    def __init__(
        self, topology: Topology, parts: IterationParts, host: HostCosts, grain: int = GRAIN,
        swaps: SwapTimes | None = None, hops: HopTimes | None = None,
    ) -> None:  # fmt: skip
        self.parts, self.host, self.grain = parts, host, grain
        self._run, self._topology = VirtualRun(topology), topology
        self._is_placed = False
        self.executed = 0
        self._memo: dict[tuple[object, ...], float] = {}
        self.loads: dict[IterationLoad, int] = {}
        self._linear: dict[tuple[int, int], float] = {}
        self._swaps, self._hops = swaps, hops

    def iteration_s(self, load: IterationLoad) -> float:
        """Duration of one iteration [s]."""
        tokens = load.tokens
        rows = load.rows + len(load.chunks)
        host_s = self.host.step_s + self.host.sequence_s * rows + self._swap_s(load)
        if not tokens:
            return host_s
        total = self._layers_s(tokens, load.rows + load.ended_prompts)
        if self._hops is not None:
            total += (self.parts.stages - 1) * self._hops.hop_s(tokens)
        if load.rows and load.context_tokens:
            total += self.decode_s(load.rows, load.context_tokens)
        for chunk, before in load.chunks:
            total += self.chunk_s(chunk, before)
        if len(self.loads) < 100_000:
            self.loads[load] = self.loads.get(load, 0) + 1
        return host_s + (total * self._overlap(load) if load.side_by_side else total)

    def _overlap(self, load: IterationLoad) -> float:
        """How much shorter nano-batches side by side are, at sizes of four an octave."""
        rows = between(load.rows, 4, self.parts.most_tokens)[0]
        context = between(max(1, load.context_tokens // max(1, load.rows)), 4, self._most_context(max(1, rows)))[0]
        tokens = between(sum(tokens for tokens, _ in load.chunks), 4, self.parts.most_tokens)[0]
        key = "o", rows, context, tokens
        if key not in self._memo:
            pieces = tuple((part, 0) for part in (tokens - tokens // 2, tokens // 2) if part)
            near = IterationLoad(rows, rows * context, pieces)
            self._memo[key] = overlap_ratio(self._topology, self.parts, near)
            self.executed += 4
        return self._memo[key]

    def decode_steps_s(self, rows: int, context_tokens: int, count: int) -> list[float]:
        """Durations of `count` steps of decoding that follow each other [s]."""
        fixed = self.host.step_s + self.host.sequence_s * rows + self._layers_s(rows, rows)
        if self._hops is not None:
            fixed += (self.parts.stages - 1) * self._hops.hop_s(rows)
        first = context_tokens // rows
        if len(self.loads) < 100_000:
            load = IterationLoad(rows, context_tokens)
            self.loads[load] = self.loads.get(load, 0) + count
        found: list[float] = []
        while len(found) < count:
            context = first + len(found)
            low, high = between(context, max(1, self.grain // 2), self._most_context(rows))
            steps = min(count - len(found), max(1, high - context))
            at = fixed + self._decode_at(rows, context)
            slope = 0.0
            if high > low:
                slope = (self._decode_at(rows, high) - self._decode_at(rows, low)) / (high - low)
            found += [at + slope * step for step in range(steps)]
        return found

    # -- parts ---------------------------------------------------------------------------------------------------------

    def _layers_s(self, tokens: int, heads: int) -> float:
        key = tokens, heads
        if key not in self._linear:
            low, high = between(tokens, self.grain, self.parts.most_tokens)
            total = on_line(tokens, low, high, self._tokens_s)
            if heads:
                low, high = between(heads, self.grain, self.parts.most_tokens)
                total += on_line(heads, low, high, self._head_s)
            self._linear[key] = total
        return self._linear[key]

    def _tokens_s(self, tokens: int) -> float:
        total = self._timed(self.parts.embedding(), T=tokens)
        for layer, count in self.parts.kinds:
            total += count * self._further(lambda times, of=layer: self.parts.layers(of, tokens, times), T=tokens)
        return total

    def _head_s(self, rows: int) -> float:
        return self._timed(self.parts.head(), T=rows)

    def decode_s(self, rows: int, context_tokens: int) -> float:
        """Attention of `rows` requests over so many tokens together, in all layers [s]."""
        return self._decode_at(rows, max(1, context_tokens // rows))

    def _most_context(self, rows: int) -> int:
        return max(1, self.parts.pool_tokens // rows)

    def _decode_at(self, rows: int, context: int) -> float:
        key = "d", rows, context
        if key not in self._memo:
            low, high = between(rows, self.grain, self.parts.most_tokens)
            self._memo[key] = on_line(rows, low, high, lambda near: self._decode_rows(near, context))
        return self._memo[key]

    def _decode_rows(self, rows: int, context: int) -> float:
        most = self._most_context(rows)
        if context > most:  # more rows than asked for, all of which could not hold as much
            return self._decode_rows(rows, most) * context / most
        low, high = between(context, max(1, self.grain // 2), most)
        return on_line(context, low, high, lambda near: self._decode_node(rows, near))

    def _decode_node(self, rows: int, context: int) -> float:
        key = "n", rows, context
        if key not in self._memo:
            total = 0.0
            for layer, count in self.parts.kinds:
                window = self.parts.shape.window(layer)
                sizes = {"R": rows, "C": context}
                if window:
                    sizes["S"] = max(0, context - window)
                total += count * self._further(lambda times, of=layer: self.parts.decode(of, times), **sizes)
            self._memo[key] = total
        return self._memo[key]

    def chunk_s(self, tokens: int, before: int) -> float:
        """Causal attention of a chunk over itself and `before` tokens, in all layers [s]."""
        key = "c", tokens, before
        if key not in self._memo:
            low, high = between(tokens, self.grain, self.parts.most_tokens)
            self._memo[key] = on_line(tokens, low, high, lambda near: self._chunk_tokens(near, before))
        return self._memo[key]

    def _chunk_tokens(self, tokens: int, before: int) -> float:
        low, high = between(before, max(1, self.grain // 2), max(before, self.parts.pool_tokens - tokens))
        return on_line(before, low, high, lambda near: self._chunk_node(tokens, near))

    def _chunk_node(self, tokens: int, before: int) -> float:
        key = "k", tokens, before
        if key not in self._memo:
            total = 0.0
            for layer, count in self.parts.kinds:
                window = self.parts.shape.window(layer)
                seen = min(before, window) if window else before
                keys = min(tokens + seen, self.parts.pool_tokens)
                sizes = {"T": tokens, "N": keys, "O": keys - tokens}
                total += count * self._further(lambda times, of=layer: self.parts.chunk(of, times), **sizes)
            self._memo[key] = total
        return self._memo[key]

    def _swap_s(self, load: IterationLoad) -> float:
        if not load.swapped_blocks or self._swaps is None:
            return 0.0
        return self._swaps.swap_s(load.swapped_blocks, load.copies)

    def _further(self, part: Callable[..., PartPlan], **sizes: int) -> float:
        """What a part takes amid an iteration, where its launches are hidden: twice it, less it alone [s]."""
        return self._timed(part(2), **sizes) - self._timed(part(1), **sizes)

    def _timed(self, part: PartPlan, **sizes: int) -> float:
        """Executes the plan of a part alone [s]."""
        key = (*part.key, *sizes.values())
        if key not in self._memo:
            run = self._run
            if not self._is_placed:
                self.parts.place(run)
                self._is_placed = True
            part.scratch.place(run)
            begin = run.now
            (done,) = run.advance([run.submit(part.plan, **sizes).number])
            part.scratch.release(run)
            self._memo[key] = done.end_at - begin
            self.executed += 1
        return self._memo[key]
