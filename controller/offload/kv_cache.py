"""A KV cache in one place, with attention where it is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from controller.models.attention import attention_of
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
    """What is cached of all sequences and layers: keys and values by heads, or latents.

        cache = KvCache(scenario, Place("cpu", "dram"))
        q, k, v = (s.move(part, cache.home) for part in block.qkv(s, x, tokens.position))
        attention = cache.attend(s, block, q, k, v, tokens)

    Attributes:
        home: the tier; of the first layer where each has its own.
    """

    def __init__(self, scenario: Scenario, home: Place | Sequence[Place]) -> None:
        """A cache in one tier, or of each layer in its own."""
        self._scenario, shape = scenario, scenario.shape
        homes = [home] * shape.layers if isinstance(home, Place) else home
        self.home = homes[0]
        of_k, of_v = (
            (scenario.batch, heads, scenario.max_tokens, width) for heads, width in attention_of(shape).cached(shape)
        )
        self._layers = [
            (
                Buffer(place.device, place.tier, f"k{layer}", scenario.kv_dtype, of_k),
                Buffer(place.device, place.tier, f"v{layer}", scenario.kv_dtype, of_v),
            )
            for layer, place in enumerate(homes)
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
        home = self._layers[block.layer][0].device
        for name, part in (("q", q), ("k", k), ("v", v)):
            if part.place.device != home:
                refuse(f"attention runs beside the cache on {home}, but {name} is in {part.place}; move it")
        shape = self._scenario.shape
        if len(q.shape) > 2:
            q, k, v = (block.to_heads(s, part) for part in (q, k, v))
            attention = block.prefill_attention(s, q, k, v)
            self._keep(s, block, (k, v), tokens)
            return attention
        k, v = (part.reshape(part.shape[0], shape.kv_heads, 1, shape.head_dim) for part in (k, v))
        self._keep(s, block, (k, v), tokens)
        kept, starts = self._layers[block.layer], self._starts(block)
        return block.decode_attention(s, q, [kept], (symbol("context"),), starts)[0]

    def attend_beside(self, s: Script, block: Block, x: Value, tokens: Tokens) -> Value:
        """Attention of a layer whose weights and cache are on the device of `x`, of latents where the model has them.

        Args:
            s: takes the ops.
            block: of the layer.
            x: the residual stream, (rows, tokens, n) of prompts or (rows, n) of new tokens.
            tokens: which they are.

        Returns:
            Attention (rows, tokens, h*d) or (rows, h, d).
        """
        if len(x.shape) > 2:
            attention, new = block.attention.prompt(s, block, x)
            self._keep(s, block, new, tokens)
            return attention
        query, new = block.attention.new_token(s, block, x, tokens.position)
        self._keep(s, block, new, tokens)
        kept, starts = self._layers[block.layer], self._starts(block)
        return block.attention.attend(s, block, query, kept, symbol("context"), starts)

    def _keep(self, s: Script, block: Block, new: tuple[Value, Value], tokens: Tokens) -> None:
        """Writes what is cached of `tokens`, (rows, heads, tokens, width) each."""
        for part, cache in zip(new, self._layers[block.layer], strict=True):
            rows, _, count, _ = part.shape
            assert isinstance(rows, int), "rows are never open here"
            s.op(
                "kv_write", part, out=rows_view(cache, tokens.row, rows), position=tokens.position, tokens=count
            )  # fmt: skip

    def _starts(self, block: Block) -> tuple[Size, ...]:
        return (symbol(f"start{block.layer}"),) if self._scenario.shape.window(block.layer) else ()

    def bindings(self, position: int) -> Mapping[str, int]:
        """Numbers for the open sizes of a step whose new token has this position."""
        scenario, context = self._scenario, position + 1
        starts = {
            f"start{layer}": scenario.effective_start(scenario.shape.first_attended(layer, context), context)
            for layer in range(scenario.shape.layers)
        }
        return {"position": position, "context": scenario.effective_tokens(context), **starts}
