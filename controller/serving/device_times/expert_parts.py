"""Plans of the parts of an iteration on one device of a group that shares the experts of its layers.

Every device of the group has whole attention layers and the cache of its own requests (data parallel), and its slots of
experts. All do the same at the same time, so one device's operations and messages stand for all: what it sends goes out
over the declared links, and as much comes back (`DieGroup`). The device that is executed is the busiest one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from controller.collectives.software import fastest, software_of
from controller.models.attention import LatentAttention, attention_of
from controller.models.block import Block
from controller.models.ends import embed, logits
from controller.models.experts import Experts
from controller.models.quantization import EXPERTS, stored
from controller.models.shape import ModelShape, weight_shapes
from controller.offload.die_group import group_of
from controller.offload.expert_placement import ExpertPlacement
from controller.offload.scratch import Scratch
from controller.plan.ops import Buffer, View
from controller.plan.script import Script, Source, Value
from controller.plan.signature import Kind
from controller.plan.size import Size, symbol
from controller.program.run import Run
from controller.serving.device_times.parts import PartPlan, layer_kinds
from controller.topology.schema import Topology
from node.hardware.operation import ITEM_BYTES


class WindowedScratch(Scratch):
    """Scratch of a part, and the windows that peers write to while it runs.

    Attributes:
        windows: by name.
    """

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.windows: dict[str, Buffer] = {}

    def place(self, run: Run) -> None:
        super().place(run)
        for buffer in self.windows.values():
            run.place(buffer, written=True)

    def release(self, run: Run) -> None:
        super().release(run)
        for buffer in self.windows.values():
            run.release(buffer)


class ExpertParts:
    """Weights, KV cache and plans of one device of a group.

    Attributes:
        shape: of the model.
        devices: of the group.
        placement: experts of every slot.
        pool_tokens: of the KV cache on a device; most_tokens: of one iteration on it.
        stages: of a pipeline, always 1.
        kinds: a layer of every kind, and how many layers are like it.
    """

    stages = 1

    def __init__(
        self, topology: Topology, shape: ModelShape, devices: tuple[str, ...], dtype: str, placement: ExpertPlacement,
        pool_tokens: int, most_tokens: int,
    ) -> None:  # fmt: skip
        assert shape.experts is not None
        self.shape, self.experts, self.devices, self.dtype = shape, shape.experts, devices, dtype
        self.placement, self.pool_tokens, self.most_tokens = placement, pool_tokens, most_tokens
        self.group = group_of(topology, devices)
        self.place_of = self.group.place
        self.kinds = layer_kinds(shape)
        self._software = software_of(topology, devices, 1)
        latent = shape.latent
        widths = (shape.q_size,) if latent is None else (shape.q_size, shape.heads * latent.rope_dim)
        self._queries = [self._buffer(f"query{at}", dtype, most_tokens, width) for at, width in enumerate(widths)]
        value_width = shape.q_size if latent is None else shape.heads * latent.value_dim
        self._attended = self._buffer("attended", dtype, most_tokens, value_width)
        self._ids, self._next_ids = (self._buffer(name, "int64", most_tokens) for name in ("ids", "next_ids"))
        self._stream = self._buffer("stream", dtype, most_tokens, shape.hidden)
        self._pools = tuple(
            self._buffer(f"pool{at}", dtype, pool_tokens, heads, width)
            for at, (heads, width) in enumerate(attention_of(shape).cached(shape))
        )
        self._counts = self._buffer("counts", "int64", 1, placement.slots)
        layers = {f"layers.{layer}." for layer, _ in self.kinds}
        self._weights = {
            name: self._buffer(f"weights.{name}", *kind)
            for name, kind in rank_weights(shape, dtype, placement.slots).items()
            if not name.startswith("layers.") or any(map(name.startswith, layers))
        }
        self._plans: dict[tuple[str, int, str], PartPlan] = {}

    def _buffer(self, name: str, dtype: str, *extents: int | tuple[int, ...]) -> Buffer:
        shape = extents[0] if isinstance(extents[0], tuple) else extents
        return Buffer(self.place_of.device, self.place_of.tier, name, dtype, shape)  # type: ignore[arg-type]

    def place(self, run: Run) -> None:
        """Allocates what the plans of parts read; weights of one layer of each kind, and the cache of one layer."""
        own = (self._ids, self._next_ids, self._stream, self._attended, self._counts)
        for buffer in (*self._weights.values(), *self._queries, *self._pools, *own):
            run.place(buffer, written=True)

    def embedding(self) -> PartPlan:
        """Token ids to the residual stream, ``T`` tokens."""
        ids = View(self._ids, 0, (symbol("T"),))
        return self._plan("embedding", 0, "", lambda s: s.drop(embed(s, self.shape, self._weights, ids)))

    def head(self) -> PartPlan:
        """Logits of ``T`` rows and the next token of each."""
        return self._plan("head", 0, "", self._emit_head)

    def layers(self, layer: int, tokens: int, times: int = 1) -> PartPlan:
        """A layer over ``T`` tokens without its attention and its experts, `times` over."""
        return self._plan("layer", layer, str(times), lambda s: self._emit_layer(s, layer, times))

    def decode(self, layer: int, times: int = 1) -> PartPlan:
        """`times` the attention of ``R`` requests over ``C`` cached tokens each, from token ``S`` on in a window."""
        return self._plan("decode", layer, str(times), lambda s: self._emit_decode(s, layer, times))

    def chunk(self, layer: int, times: int = 1) -> PartPlan:
        """`times` the causal attention of ``T`` tokens over ``N`` of which ``O`` come before them.

        Keys and values of latents are made again for all ``N``.
        """
        return self._plan("chunk", layer, str(times), lambda s: self._emit_chunk(s, layer, times))

    def mixture(self, layer: int, sent: int, arrived: int, times: int = 1) -> PartPlan:
        """`times` gate, dispatch, experts and combine: `sent` tokens of this device, those of `arrived` come here."""
        key = f"{sent}.{arrived}.{times}"
        return self._plan("mixture", layer, key, lambda s: self._emit_mixture(s, layer, sent, arrived, times))

    # -- emitting ------------------------------------------------------------------------------------------------------

    def _plan(self, part: str, layer: int, variant: str, emit: Callable[[Script], None]) -> PartPlan:
        key = part, layer, variant
        if key not in self._plans:
            scratch = WindowedScratch(f"scratch.{part}")
            s = Script(part, scratch, {"T": self.most_tokens, "R": self.most_tokens, "N": self.pool_tokens})
            emit(s)
            self._plans[key] = PartPlan(key, s.plan(), scratch)
        return self._plans[key]

    def _block(self, layer: int) -> Block:
        prefix = f"layers.{layer}."
        own = {name.removeprefix(prefix): each for name, each in self._weights.items() if name.startswith(prefix)}
        return Block(self.shape, layer, own, dtype=self.dtype)

    def _rows(self, buffer: Buffer, rows: Size) -> View:
        return View(buffer, 0, (rows, *buffer.shape[1:]))

    def _emit_head(self, s: Script) -> None:
        rows = symbol("T")
        made = logits(s, self.shape, self._weights, self._rows(self._stream, rows))
        s.op("argmax", made, out=View(self._next_ids, 0, (rows,)), label="lm_head")

    def _emit_layer(self, s: Script, layer: int, times: int) -> None:
        rows, block, part = symbol("T"), self._block(layer), attention_of(self.shape)
        x: Source = self._rows(self._stream, rows)
        for _ in range(times):
            attended: Source
            if isinstance(part, LatentAttention):
                *queries, first, second = part.projected(s, block, x, 0)
                for query in queries:
                    s.drop(query)
                attended = self._rows(self._attended, rows)
            else:
                attended, first, second = block.qkv(s, x)
            for new, pool in zip((first, second), self._pools, strict=True):
                heads, width = pool.shape[1:]
                s.op("kv_write", new.reshape(rows, heads, 1, width), out=View(pool, 0, (rows, heads, 1, width)),
                     position=0, tokens=1)  # fmt: skip
            x = block.attention_output(s, x, attended)  # type: ignore[arg-type]
            if not self.experts.of_layer(layer):
                x = block.feed_forward(s, x)
        s.drop(x)  # type: ignore[arg-type]

    def _emit_decode(self, s: Script, layer: int, times: int) -> None:
        rows, context, block = symbol("R"), symbol("C"), self._block(layer)
        part, starts = attention_of(self.shape), (symbol("S"),) if self.shape.window(layer) else ()
        cache: tuple[Source, Source] = tuple(  # type: ignore[assignment]
            View(pool, 0, (rows, pool.shape[1], context, pool.shape[2])) for pool in self._pools
        )
        for _ in range(times):
            query: tuple[Source, ...] = tuple(self._rows(each, rows) for each in self._queries)
            if isinstance(part, LatentAttention):
                turned = View(self._queries[1], 0, (rows, self.shape.heads, part.latent.rope_dim))
                query = part.absorbed(s, block, query[0]), turned
            s.drop(part.attend(s, block, query, cache, context, starts))  # type: ignore[arg-type]

    def _emit_chunk(self, s: Script, layer: int, times: int) -> None:
        rows, tokens, shape, block = symbol("T"), symbol("N"), self.shape, self._block(layer)
        for _ in range(times):
            if shape.latent is not None:
                c, k_rope = (View(pool, 0, (1, tokens, pool.shape[2])) for pool in self._pools)
                k, v = (block.linear(s, name, c, "kv_up") for name in ("k_up", "v_up"))
                q, q_rope = (View(each, 0, (1, rows, each.shape[1])) for each in self._queries)
                made = s.results(
                    "latent_prefill_attention", q, q_rope, k, k_rope, v, on=self.place_of, heads=shape.heads,
                    makes=[(self.dtype, (1, rows, self._attended.shape[1]))], scale=shape.attention_scale,
                    offset=symbol("O"),
                )  # fmt: skip
                s.drop(made[0])  # type: ignore[arg-type]
                continue
            keys, values = (View(pool, 0, (tokens, 1, *pool.shape[1:])) for pool in self._pools)
            queries = rows, 1, shape.heads
            made = s.results(
                "block_attention", View(self._queries[0], 0, (*queries, shape.head_dim)), keys, values,
                makes=[(self.dtype, (*queries, shape.head_dim)), ("fp32", queries)], scale=shape.attention_scale,
                offset=symbol("O"),
            )  # fmt: skip
            for each in made:
                s.drop(each)  # type: ignore[arg-type]

    def _emit_mixture(self, s: Script, layer: int, sent: int, arrived: int, times: int) -> None:
        block = self._block(layer)
        x: Source = self._rows(self._stream, sent)
        for _ in range(times):
            x = block.feed_forward(s, x) if len(self.devices) == 1 else self._exchanged(s, block, x, sent, arrived)  # type: ignore[arg-type]
        s.drop(x)  # type: ignore[arg-type]

    def _exchanged(self, s: Script, block: Block, x: Source, sent: int, arrived: int) -> Value:
        """The feed-forward of a layer with experts of other devices, and its residual."""
        e, hidden, experts = self.experts, self.shape.hidden, Experts(self.experts)
        normed = block.norm(s, "ffn_norm", x)
        weights, chosen = experts.choose(s, block, normed)
        slots = s.op("expert_slots", chosen, placement=self.placement.experts, label="router")
        s.drop(s.op("expert_counts", slots, count=len(self.placement.experts), label="router"))
        makes = [(self.dtype, (rows, hidden)) for rows in self._spread(sent * e.chosen)]
        *messages, order = s.results(
            "expert_send", normed, slots, makes=[*makes, ("int64", (sent * e.chosen,))], label="dispatch",
            per_rank=self.placement.slots,
        )  # fmt: skip
        after = self._sent(s, messages, "dispatch")
        rows = max(1, arrived * e.chosen)
        came = self._window(s, "came", rows)
        kinds: list[Kind] = [(self.dtype, (rows, hidden)), ("int64", (rows,)), ("int64", (self.placement.slots,))]
        given, origin, ends = s.results(
            "expert_receive", came, self._counts, makes=kinds, label="dispatch", after=after
        )  # fmt: skip
        made = experts.fed(s, block, given, ends)
        makes = [(self.dtype, (each, hidden)) for each in self._spread(rows)]
        after = self._sent(s, s.results("expert_return", made, origin, makes=makes, label="combine"), "combine")
        back = self._window(s, "back", sent * e.chosen)
        kind = self.dtype, (sent, hidden)
        summed = s.op("expert_combine", back, order, weights, makes=[kind], label="combine", after=after)
        return block.residual(s, x, experts.with_shared(s, block, normed, summed), "post_ffn_norm")

    def _window(self, s: Script, name: str, rows: int) -> Buffer:
        """Where peers have written `rows` rows."""
        assert isinstance(s.arenas, WindowedScratch)
        buffer = self._buffer(name, self.dtype, rows, self.shape.hidden)
        s.arenas.windows[name] = buffer
        return buffer

    def _spread(self, rows: int) -> list[int]:
        """Rows to itself and to every peer of the group, evenly over the devices; a row at least to each."""
        size = self.group.size
        return [max(1, -(-rows * dies // size)) for dies in (1, *(dies for _, dies in self.group.peers))]

    def _sent(self, s: Script, messages: Sequence[Value | View], label: str) -> list[int]:
        """Messages leave for the peers; the ops after which all have left, and by symmetry as many have come."""
        software = fastest(self._software, sum(product_bytes(each) for each in messages[1:]))
        if software.start_s:
            s.results("delay", on=self.place_of, out=(), label=label, seconds=software.start_s)
        s.drop(messages[0])  # type: ignore[arg-type]
        ended = []
        for message, (place, _) in zip(messages[1:], self.group.peers, strict=True):
            value = s.move(message, place, label, rate_limit_bytes_per_s=software.bytes_per_s, connection=label)
            s.drop(value)
            ended.append(s.count - 1)
        return ended


def product_bytes(message: Value | View) -> int:
    """Size of a message of closed extents [bytes]."""
    dtype = message.buffer.dtype if isinstance(message, View) else message.dtype
    count = ITEM_BYTES[dtype]
    for extent in message.shape:
        assert isinstance(extent, int), "messages have closed sizes"
        count *= extent
    return count


def rank_weights(shape: ModelShape, dtype: str, slots: int) -> dict[str, tuple[str, tuple[int, ...]]]:
    """Element type and extents of every weight of one device with `slots` slots of experts."""
    found = {}
    for name, extents in weight_shapes(shape).items():
        own = (slots, *extents[1:]) if any(f".{matrix}." in name for matrix in EXPERTS) else extents
        found[name] = stored(shape.quantization, name, dtype, own)
    return found
