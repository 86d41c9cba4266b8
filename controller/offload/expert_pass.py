"""One pass of a mixture of experts over a group of devices: all layers, one plan for every exchange.

The gate's counts decide how much is sent, so a plan ends behind the gate of a layer and the next begins with the
exchange, whose open sizes are bound to the counts that the gates left, or on the virtual clock to the declared ones.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from controller.models.expert_shape import ExpertShape
from controller.models.scenario import Scenario
from controller.offload.expert_exchange import ExpertExchange
from controller.offload.expert_placement import ExpertPlacement
from controller.offload.expert_ranks import ExpertRank
from controller.offload.scratch import Scratch, plans_of
from controller.plan.ops import Buffer, Plan
from controller.plan.script import Script, Value
from controller.plan.size import symbol
from controller.program.run import Array, Run, Wish


@dataclass(frozen=True, slots=True)
class ExpertGroup:
    """The devices of a group and what is declared of them.

    Attributes:
        scenario: what is run.
        experts: of the model.
        placement: experts of every slot.
        ranks: the devices, each with `rows` sequences.
        loads: declared share of each expert; empty for even ones.
        in_8_bits: how tokens are sent.
    """

    scenario: Scenario
    experts: ExpertShape
    placement: ExpertPlacement
    ranks: tuple[ExpertRank, ...]
    loads: tuple[int, ...]
    in_8_bits: bool


class ExpertPass:
    """All layers over the prompts, or over one new token of every sequence."""

    def __init__(self, run: Run, group: ExpertGroup, name: str, tokens: int) -> None:
        self.run, self.group, self.name = run, group, name
        shape, rows = group.scenario.shape, group.ranks[0].rows
        extents = (rows, tokens) if tokens > 1 or name == "prompt" else (rows,)
        self._many = rows * tokens
        places = [rank.place for rank in group.ranks]
        self._exchange = ExpertExchange(
            group.experts, shape.hidden, group.placement, places, self._many, group.scenario.dtype,
            in_8_bits=group.in_8_bits,
        )  # fmt: skip
        self._scratch = Scratch(f"{name}_scratch")
        kind = group.scenario.dtype, (*extents, shape.hidden)
        self._streams = [Buffer(each.device, each.tier, f"{name}.stream", *kind) for each in places]
        self._routed = [self._exchange.routed(rank, name) for rank in range(len(places))]
        slots, counts = group.placement.slots, self._exchange.declared_counts(group.loads)
        received = [sum(of_source[slot] for of_source in counts) for slot in range(len(counts[0]))]
        of_rank = [tuple(received[rank * slots : (rank + 1) * slots]) for rank in range(len(places))]
        self._loads = [loads if group.loads and any(loads) else () for loads in of_rank]
        self._plans = self._all_plans()

    def place(self) -> None:
        """Allocates buffers and scratch of the pass."""
        for buffer in self._buffers():
            self.run.place(buffer, written=True)
        self._scratch.place(self.run)

    def release(self) -> None:
        """Frees them."""
        for buffer in self._buffers():
            self.run.release(buffer)
        self._scratch.release(self.run)

    def _buffers(self) -> list[Buffer]:
        return [*self._streams, *(buffer for routed in self._routed for buffer in routed.buffers)]

    def forward(self, bindings: Mapping[str, int]) -> Generator[Wish, Any, None]:
        """Runs the pass; every rank's next tokens are there at its end."""
        for plan, has_experts in self._plans:
            open_sizes = bindings
            if has_experts:
                open_sizes = {**bindings, **self._exchange.bindings((yield from self._counts()))}
            yield self.run.submit(plan, **{name: open_sizes[name] for name in plan.parameters})

    def _counts(self) -> Generator[Wish, Any, Sequence[Sequence[int]]]:
        """Rows of every slot from every rank: what the gates chose, or on the virtual clock what is declared."""
        found: list[Array] = []
        for routed in self._routed:
            counts = yield self.run.fetch(routed.counts)
            if counts is not None:
                found.append(counts)
        return [of_rank.tolist() for of_rank in found] or self._exchange.declared_counts(self.group.loads)

    def _all_plans(self) -> list[tuple[Plan, bool]]:
        """Plans of a pass in order, and whether sizes of each depend on the gate."""
        scripts, x, is_open = {"embed": self._script("embed")}, None, {"embed": False}
        s = scripts["embed"]
        for layer in range(self.group.scenario.shape.layers):
            x = self._attention(s, layer, x)
            if self.group.experts.of_layer(layer):
                name = f"layer {layer}"
                s = scripts[name] = self._script(name)
                is_open[name] = True
                x = self._fed(s, layer)
            else:
                blocks = [rank.block(layer) for rank in self.group.ranks]
                x = [block.feed_forward(s, stream) for block, stream in zip(blocks, x, strict=True)]
        assert x is not None, "models have layers"
        for rank, stream in zip(self.group.ranks, x, strict=True):
            rank.finish(s, stream)
        return [(plan, is_open[name]) for name, plan in plans_of(scripts).items()]

    def _script(self, what: str) -> Script:
        return Script(f"{self.name} {what}", self._scratch, bounds=self._exchange.bounds)

    def _attention(self, s: Script, layer: int, x: list[Value] | None) -> list[Value]:
        """Attention of every rank, and where the layer has experts its gate."""
        found = []
        for index, rank in enumerate(self.group.ranks):
            block = rank.block(layer)
            if x is None:
                ids, position = (rank.ids, 0) if self.name == "prompt" else (rank.next_ids, symbol("position"))
                stream = rank.embed(s, ids, position)
            else:
                stream = x[index]
            stream = rank.attended(s, block, stream)
            found.append(stream)
            if self.group.experts.of_layer(layer):
                s.op("copy", stream, out=self._streams[index])
                self._exchange.route(s, index, block, block.norm(s, "ffn_norm", stream), self._routed[index])
        return found

    def _fed(self, s: Script, layer: int) -> list[Value]:
        """What the experts add to the streams."""
        blocks = [rank.block(layer, loads) for rank, loads in zip(self.group.ranks, self._loads, strict=True)]
        found = []
        for index, made in enumerate(self._exchange.feed(s, blocks, self._routed)):
            stream = self._streams[index]
            found.append(blocks[index].residual(s, stream, made.reshape(*stream.shape), "post_ffn_norm"))
        return found
