"""Tokens to experts on other devices and back: what is sent follows the choices of the gate.

    exchange.route(s, rank, block, normed, routed)          # the gate, and how many rows go to every slot
    ...                                                     # the counts are fetched, or the declared router gives them
    made = exchange.feed(s, blocks, routed)                 # dispatch, experts, combine: (t, n) on every rank

How many rows go from rank to rank is data: sizes are open (`bindings`), bounded by what a rank can send, and memory is
there for the bound. Messages of 8 bits carry the scale of their token.
Source: CloudMatrix384, arXiv 2506.12708, section 4.2.1.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from controller.models.block import Block
from controller.models.expert_shape import ExpertShape
from controller.models.experts import Experts
from controller.offload.expert_placement import ExpertPlacement
from controller.plan.ops import Buffer, View
from controller.plan.script import Script, Source, Value
from controller.plan.signature import Kind
from controller.plan.size import product, symbol
from controller.plan.value import Place
from node.hardware.operation import ITEM_BYTES

TAIL_BYTES = 512
"""What the scale of a token takes in a message of 8 bits (CloudMatrix384, section 4.2.1) [bytes]."""
ROUNDING = 1 / 254
"""Largest error of an element of a message in 8 bits, over the largest of its token."""


@dataclass(frozen=True, slots=True)
class Routed:
    """What the gate of one rank chose, in buffers that outlive a plan; `t` tokens, `k` experts each.

    Attributes:
        normed: input of the experts (t, n).
        slots: of every choice (t, k); weights: of every choice, fp32 (t, k).
        counts: rows of every slot (ranks * slots).
    """

    normed: Buffer
    slots: Buffer
    weights: Buffer
    counts: Buffer

    @property
    def buffers(self) -> tuple[Buffer, ...]:
        """All of them."""
        return self.normed, self.slots, self.weights, self.counts


class ExpertExchange:
    """Expert parallelism over a group of devices.

    Attributes:
        places: memory of each rank.
        window_rows: most rows that one rank sends to another.
    """

    def __init__(
        self, shape: ExpertShape, hidden: int, placement: ExpertPlacement, places: Sequence[Place],
        tokens: int, dtype: str, *, in_8_bits: bool,
    ) -> None:  # fmt: skip
        """Args beside the attributes are the widths of the model, tokens of each rank and how messages are sent."""
        self.shape, self.hidden, self.placement, self.places = shape, hidden, placement, tuple(places)
        self.tokens, self.dtype, self.in_8_bits = tokens, dtype, in_8_bits
        self.window_rows = tokens * min(shape.chosen, placement.slots)
        self.message = ("int8", hidden + TAIL_BYTES) if in_8_bits else (dtype, hidden)
        self._experts = Experts(shape)

    @property
    def bounds(self) -> dict[str, int]:
        """Largest number of each open size, for the script."""
        ranks = range(len(self.places))
        pairs = {f"rows_{source}_{target}": self.window_rows for source in ranks for target in ranks}
        return pairs | {f"rows_{target}": len(self.places) * self.window_rows for target in ranks}

    def bindings(self, counts: Sequence[Sequence[int]]) -> Mapping[str, int]:
        """Numbers for the open sizes.

        Args:
            counts: for each rank the rows of every slot.
        """
        slots, found = self.placement.slots, dict[str, int]()
        arrived = [0] * len(self.places)
        for source, of_slots in enumerate(counts):
            for target in range(len(self.places)):
                rows = sum(int(count) for count in of_slots[target * slots : (target + 1) * slots])
                found[f"rows_{source}_{target}"] = rows
                arrived[target] += rows
        return found | {f"rows_{target}": rows for target, rows in enumerate(arrived)}

    def declared_counts(self, loads: Sequence[int]) -> list[tuple[int, ...]]:
        """What the declared router sends: for each rank the rows of every slot."""
        rows = self.placement.rows_of_slots(self.tokens, self.shape.chosen, loads)
        return [rows] * len(self.places)

    def routed(self, rank: int, name: str) -> Routed:
        """Buffers for the choice of `rank`."""
        place, chosen = self.places[rank], (self.tokens, self.shape.chosen)

        def buffer(what: str, dtype: str, *extents: int) -> Buffer:
            return Buffer(place.device, place.tier, f"{name}.{what}", dtype, extents)

        return Routed(
            buffer("normed", self.dtype, self.tokens, self.hidden), buffer("slots", "int64", *chosen),
            buffer("weights", "fp32", *chosen), buffer("counts", "int64", len(self.placement.experts)),
        )  # fmt: skip

    def route(self, s: Script, rank: int, block: Block, x: Value, routed: Routed) -> None:
        """The gate's choice for the normed `x` (..., n), into `routed`."""
        flat = x.reshape(product(x.shape[:-1]), self.hidden)
        weights, chosen = self._experts.choose(s, block, flat)
        slots = s.op(
            "expert_slots", chosen, placement=self.placement.experts, first=rank * self.tokens, label="router"
        )  # fmt: skip
        s.op("expert_counts", slots, out=routed.counts, count=len(self.placement.experts), label="router")
        for value, kept in ((flat, routed.normed), (slots, routed.slots), (weights, routed.weights)):
            s.op("copy", value, out=kept, label="router")

    def feed(self, s: Script, blocks: Sequence[Block], routed: Sequence[Routed]) -> list[Value]:
        """Dispatch, experts and combine of every rank; each rank gets the weighted sum (t, n) of its tokens."""
        ranks = range(len(self.places))
        sent = [self._messages(s, rank, routed[rank]) for rank in ranks]
        messages = self._exchanged(s, [each[0] for each in sent], "dispatch")
        counts = self._counts(s, routed)
        back = [self._fed(s, rank, blocks[rank], messages[rank], counts[rank]) for rank in ranks]
        made = []
        for rank, of_rank in enumerate(self._exchanged(s, back, "combine")):
            order, kind = sent[rank][1], (self.dtype, (self.tokens, self.hidden))
            summed = s.op("expert_combine", *of_rank, order, routed[rank].weights, makes=[kind], label="combine")
            made.append(self._experts.with_shared(s, blocks[rank], routed[rank].normed, summed))
        return made

    def _messages(self, s: Script, rank: int, routed: Routed) -> tuple[list[Value], Value]:
        """What goes to every rank, and the choice behind every row."""
        x: Source = routed.normed
        here = self.places[rank]
        if self.in_8_bits:
            x = s.op("quantise_message", x, on=here, tail=TAIL_BYTES, label="dispatch")
        dtype, width = self.message
        makes: list[Kind] = [
            (dtype, (symbol(f"rows_{rank}_{target}"), width)) for target in range(len(self.places))
        ]  # fmt: skip
        makes.append(("int64", (self.tokens * self.shape.chosen,)))
        *messages, order = s.results(
            "expert_send", x, routed.slots, on=here, makes=makes, per_rank=self.placement.slots, label="dispatch"
        )  # fmt: skip
        return messages, order  # type: ignore[return-value]

    def _exchanged(self, s: Script, given: Sequence[Sequence[Value]], label: str) -> list[list[Value]]:
        """What every rank gets from each when rank r gives ``given[r][j]`` to rank j; nearest ranks first."""
        ranks = len(self.places)
        got: list[dict[int, Value]] = [{} for _ in self.places]
        for distance in range(ranks):
            for source in range(ranks):
                target, own = (source + distance) % ranks, given[source][(source + distance) % ranks]
                got[target][source] = own if not distance else s.transfer(
                    (own,), (self.places[target],), label, connection=label
                )[0]  # type: ignore[assignment]  # fmt: skip
        return [[of_rank[source] for source in range(ranks)] for of_rank in got]

    def _counts(self, s: Script, routed: Sequence[Routed]) -> list[Value]:
        """How many rows of each slot every source has sent, behind the rows."""
        ranks, slots = len(self.places), self.placement.slots
        counts = [s.empty(place, "int64", (ranks, slots)) for place in self.places]
        for distance in range(ranks):
            for source in range(ranks):
                target = (source + distance) % ranks
                own = View(routed[source].counts, target * slots * ITEM_BYTES["int64"], (slots,))
                into = counts[target].part(source * slots, (slots,))
                s.transfer((own,), (into,), "dispatch", connection="dispatch" if distance else "")
        return counts

    def _fed(self, s: Script, rank: int, block: Block, messages: Sequence[Value], counts: Value) -> list[Value]:
        """The experts of one rank over what has arrived, as it goes back to every rank."""
        arrived = symbol(f"rows_{rank}")
        dtype, width = self.message
        makes: list[Kind] = [
            (dtype, (arrived, width)), ("int64", (arrived,)), ("int64", (self.placement.slots,))
        ]  # fmt: skip
        rows, origin, ends = s.results("expert_receive", *messages, counts, makes=makes, label="dispatch")
        if self.in_8_bits:
            kind = (self.dtype, (arrived, self.hidden))
            rows = s.op("dequantise_message", rows, makes=[kind], tail=TAIL_BYTES, label="dispatch")
        made = self._experts.fed(s, block, rows, ends)
        back: list[Kind] = [
            (self.dtype, (symbol(f"rows_{source}_{rank}"), self.hidden)) for source in range(len(self.places))
        ]  # fmt: skip
        return list(s.results("expert_return", made, origin, makes=back, label="combine"))  # type: ignore[arg-type]
