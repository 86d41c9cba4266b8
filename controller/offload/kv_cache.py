"""A KV cache in one place, with attention where it is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from controller.models.block import Block
from controller.models.scenario import Scenario
from controller.offload.gpu_model import rows_view
from controller.plan.author import refuse
from controller.plan.ops import Buffer
from controller.plan.script import Script, Value
from controller.plan.size import Affine, Size, symbol
from controller.plan.value import Place
from controller.program.run import Run


@dataclass(frozen=True, slots=True)
class Tokens:
    """The tokens of one pass: the prompts of some sequences, or one new token of every sequence.

    Attributes:
        position: of the first token in its sequence; 0 for prompts.
        row: the first sequence.
    """

    position: Size = 0
    row: int | Affine = 0


NEW_TOKEN = Tokens(symbol("position"))
"""One new token of every sequence, at a position that each step binds."""


class KvCache:
    """Keys and values of all sequences and layers, by heads, in one tier.

        cache = KvCache(scenario, Place("cpu", "dram"))
        q, k, v = (s.move(part, cache.home) for part in block.qkv(s, x, tokens.position))
        attention = cache.attend(s, block, q, k, v, tokens)

    Attributes:
        home: the tier.
    """

    def __init__(self, scenario: Scenario, home: Place) -> None:
        self._scenario, self.home, shape = scenario, home, scenario.shape
        extents = (scenario.batch, shape.kv_heads, scenario.max_tokens, shape.head_dim)
        self._layers = [
            (
                Buffer(home.device, home.tier, f"k{layer}", scenario.kv_dtype, extents),
                Buffer(home.device, home.tier, f"v{layer}", scenario.kv_dtype, extents),
            )
            for layer in range(shape.layers)
        ]

    def place(self, run: Run) -> None:
        for pair in self._layers:
            for buffer in pair:
                run.place(buffer, written=True)

    def attend(self, s: Script, block: Block, q: Value, k: Value, v: Value, tokens: Tokens) -> Value:
        """Keeps `k` and `v` and attends to everything kept so far, on the device of `home`.

        Args:
            s: takes the ops.
            block: of the layer.
            q, k, v: of `tokens`, on that device, as `Block.qkv` makes them: (rows, tokens, n) of prompts, (rows, n) of
                new tokens.
            tokens: which they are.

        Returns:
            Attention (rows, tokens, h*d) or (rows, h, d).

        Raises:
            BadPlan: one of q, k and v is on another device.
        """
        for name, part in (("q", q), ("k", k), ("v", v)):
            if part.place.device != self.home.device:
                refuse(f"attention runs beside the cache on {self.home.device}, but {name} is in {part.place}; move it")
        shape, kept, position = self._scenario.shape, self._layers[block.layer], tokens.position
        rows = q.shape[0]
        assert isinstance(rows, int), "rows are never open here"
        if len(q.shape) > 2:
            q, *new = (block.to_heads(s, part) for part in (q, k, v))
            attention = block.prefill_attention(s, q, *new)
        else:
            new = [part.reshape(rows, shape.kv_heads, 1, shape.head_dim) for part in (k, v)]
        for part, cache in zip(new, kept, strict=True):
            views = rows_view(cache, tokens.row, rows)
            s.op("kv_write", part, out=views, position=position, tokens=part.shape[2])
        if len(q.shape) > 3:
            return attention
        starts = (symbol(f"start{block.layer}"),) if shape.window(block.layer) else ()
        return block.decode_attention(s, q, [kept], (symbol("context"),), starts)[0]

    def bindings(self, position: int) -> Mapping[str, int]:
        """Numbers for the open sizes of a step whose new token has this position."""
        scenario, context = self._scenario, position + 1
        starts = {
            f"start{layer}": scenario.effective_start(scenario.shape.first_attended(layer, context), context)
            for layer in range(scenario.shape.layers)
        }
        return {"position": position, "context": scenario.effective_tokens(context), **starts}
