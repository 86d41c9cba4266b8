"""A mixture of experts over a group of devices: attention on each over its own sequences, experts distributed.

Every rank has all weights but the experts', of which it has those of its slots, and the cache of its own sequences.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from controller.models.block import Block
from controller.models.ends import embed, logits
from controller.models.quantization import EXPERTS, stored
from controller.models.scenario import Scenario
from controller.models.shape import weight_shapes
from controller.models.weights import weight_content
from controller.offload.expert_placement import ExpertPlacement
from controller.offload.kv_cache import NEW_TOKEN, KvCache, Tokens
from controller.plan.ops import Buffer
from controller.plan.script import Script, Value
from controller.plan.size import Size
from controller.plan.value import Place
from controller.program.run import Array, Content, Run


class ExpertRank:
    """One device of the group.

    Attributes:
        place: its memory.
        first: number of its first sequence; rows: how many it has.
        cache: of its sequences.
        ids: prompts (rows, prompt_tokens); next_ids: last tokens (rows); logits: of the last step (rows, vocab).
    """

    def __init__(self, scenario: Scenario, placement: ExpertPlacement, rank: int, place: Place, rows: int) -> None:
        self.scenario, self.placement, self.rank = scenario, placement, rank
        self.place, self.first, self.rows = place, rank * rows, rows
        shape, dtype = scenario.shape, scenario.dtype
        self.ids = self._buffer("prompt_ids", "int64", rows, scenario.prompt_tokens)
        self.next_ids = self._buffer("next_ids", "int64", rows)
        self.logits = self._buffer("logits", dtype, rows, shape.vocab)
        self._weights = {name: self._weight(name, extents) for name, extents in weight_shapes(shape).items()}
        self.cache = KvCache(replace(scenario, batch=rows), place)

    def _buffer(self, name: str, dtype: str, *extents: int) -> Buffer:
        return Buffer(self.place.device, self.place.tier, name, dtype, extents)

    def _weight(self, name: str, extents: tuple[int, ...]) -> Buffer:
        if _is_of_experts(name):
            extents = (self.placement.slots, *extents[1:])
        kind, stored_extents = stored(self.scenario.shape.quantization, name, self.scenario.dtype, extents)
        return self._buffer(f"weights.{name}", kind, *stored_extents)

    def put(self, run: Run) -> None:
        """Allocates weights, prompts and cache."""
        for name, buffer in self._weights.items():
            run.place(buffer, self._content(name), written=True)
        ids = self.scenario.prompt_ids
        own = None if ids is None else np.asarray(ids[self.first : self.first + self.rows], np.int64)
        run.place(self.ids, own, written=True)
        for buffer in (self.next_ids, self.logits):
            run.place(buffer)
        self.cache.place(run)

    def _content(self, name: str) -> Content:
        weights = self.scenario.weights
        if weights is None:
            return None

        def make() -> Array:
            values = weight_content(weights, name)
            return values[list(self.placement.of_rank(self.rank))] if _is_of_experts(name) else values

        return make

    def block(self, layer: int, loads: tuple[int, ...] = ()) -> Block:
        """The block of `layer`; `loads` are declared rows of its slots."""
        prefix = f"layers.{layer}."
        own = {name.removeprefix(prefix): each for name, each in self._weights.items() if name.startswith(prefix)}
        return Block(self.scenario.shape, layer, own, loads)

    def embed(self, s: Script, ids: Buffer, position: Size) -> Value:
        """Token ids (rows) or (rows, tokens) to the residual stream."""
        return embed(s, self.scenario.shape, self._weights, ids, position)

    def attended(self, s: Script, block: Block, x: Value) -> Value:
        """Attention of a prompt (rows, tokens, n) or of a new token (rows, n), and its residual sum."""
        tokens = NEW_TOKEN if len(x.shape) == 2 else Tokens()
        return block.attention_output(s, x, self.cache.attend_beside(s, block, x, tokens))

    def finish(self, s: Script, x: Value) -> None:
        """Logits and next tokens, where the loop reads them."""
        made = logits(s, self.scenario.shape, self._weights, x)
        s.op("copy", made, out=self.logits)
        s.op("argmax", made, out=self.next_ids)


def _is_of_experts(name: str) -> bool:
    return any(f".{matrix}." in name for matrix in EXPERTS)
