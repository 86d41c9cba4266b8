"""Plans of the parts of an iteration, with open sizes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from controller.collectives.all_reduce_direct import HOPS
from controller.collectives.exchange import Software
from controller.collectives.software import all_reduced_bytes, fastest, software_of
from controller.models.shape import ModelShape
from controller.models.sharded import Sharded
from controller.models.sharding import Sharding
from controller.offload.scratch import Scratch
from controller.plan.ops import Buffer, Plan, View
from controller.plan.script import Script, Source, Value
from controller.plan.size import Size, symbol
from controller.program.run import Run
from controller.topology.schema import Topology
from node.hardware.operation import ITEM_BYTES


@dataclass(frozen=True, slots=True)
class PartPlan:
    """The plan of a part.

    Attributes:
        key: part, layer, and how the ranks sum.
        plan: with its open sizes.
        scratch: what lies between its ops.
    """

    key: tuple[str, int, str]
    plan: Plan
    scratch: Scratch


class IterationParts:
    """An instance's weights, its KV pool and the plans of the parts of its iterations.

    Attributes:
        shape: of the model.
        sharding: its weights over the ranks.
        pool_tokens: of the KV cache on every rank.
        most_tokens: of one iteration.
        stages: of the pipeline, of which these are the layers and devices of the first; others are alike.
        kinds: a layer of every kind, and how many layers are like it.
    """

    def __init__(
        self, topology: Topology, shape: ModelShape, devices: tuple[str, ...], dtype: str, pool_tokens: int,
        most_tokens: int, stages: int = 1,
    ) -> None:  # fmt: skip
        self.shape, self.devices, self.pool_tokens, self.most_tokens = shape, devices, pool_tokens, most_tokens
        self.sharding = Sharding(shape, devices, dtype)
        self._software = software_of(topology, devices, HOPS)
        self._item = ITEM_BYTES[dtype]
        world = len(devices)
        self.heads = [(stop - start) * (shape.heads // shape.kv_heads) for start, stop in self.sharding.kv]
        self.kv_heads = [stop - start for start, stop in self.sharding.kv]
        first = devices[0]
        self.ids = [Buffer(device, "hbm", "ids", "int64", (most_tokens,)) for device in devices]
        self.stream = [Buffer(device, "hbm", "stream", dtype, (most_tokens, shape.hidden)) for device in devices]
        self.query = [
            Buffer(device, "hbm", "query", dtype, (most_tokens, heads * shape.head_dim))
            for device, heads in zip(devices, self.heads, strict=True)
        ]
        self.pools = [
            tuple(Buffer(device, "hbm", f"pool_{part}", dtype, (pool_tokens, heads, shape.head_dim)) for part in "kv")
            for device, heads in zip(devices, self.kv_heads, strict=True)
        ]
        self.next_ids = Buffer(first, "hbm", "next_ids", "int64", (most_tokens,))
        self._world, self.stages = world, stages
        self.kinds = tuple((layer, count * stages) for layer, count in layer_kinds(shape))
        self._plans: dict[tuple[str, int, str], PartPlan] = {}

    def place(self, run: Run) -> None:
        """Allocates what the plans of parts read; of the KV cache one layer, since parts are of one layer."""
        self.sharding.place(run, None)
        for buffer in (*self.ids, *self.stream, *self.query, *(each for pair in self.pools for each in pair)):
            run.place(buffer, written=True)
        run.place(self.next_ids, written=True)

    def software(self, tokens: int) -> Software:
        """How the ranks sum `tokens` rows."""
        return fastest(self._software, all_reduced_bytes(tokens * self.shape.hidden * self._item, self._world))

    def layers(self, layer: int, tokens: int, times: int = 1) -> PartPlan:
        """A layer over ``T`` tokens without its attention, `times` over; its keys and values go to the pool."""
        software = self.software(tokens)
        variant = f"{software.name}{times}"
        return self._plan("layer", layer, variant, lambda s: self._emit_layer(s, layer, software, times))

    def embedding(self) -> PartPlan:
        """Token ids to the residual stream, ``T`` tokens."""
        return self._plan("embedding", 0, "", self._emit_embedding)

    def head(self) -> PartPlan:
        """Logits of ``T`` rows and the next token of each."""
        return self._plan("head", 0, "", self._emit_head)

    def decode(self, layer: int, times: int = 1) -> PartPlan:
        """`times` the attention of ``R`` requests over ``C`` cached tokens each, from token ``S`` on in a window."""
        return self._plan("decode", layer, str(times), lambda s: self._emit_decode(s, layer, times))

    def chunk(self, layer: int, times: int = 1) -> PartPlan:
        """`times` the causal attention of ``T`` tokens over ``N`` of which ``O`` come before them."""
        return self._plan("chunk", layer, str(times), lambda s: self._emit_chunk(s, times))

    def _plan(self, part: str, layer: int, variant: str, emit: Callable[[Script], None]) -> PartPlan:
        key = part, layer, variant
        if key not in self._plans:
            scratch = Scratch(f"scratch.{part}")
            s = Script(part, scratch, {"T": self.most_tokens, "R": self.most_tokens})
            emit(s)
            self._plans[key] = PartPlan(key, s.plan(), scratch)
        return self._plans[key]

    def _model(self, software: Software) -> Sharded:
        return Sharded(self.sharding, software)

    def _emit_layer(self, s: Script, layer: int, software: Software, times: int) -> None:
        rows, model = symbol("T"), self._model(software)
        x: Sequence[Source] = [View(stream, 0, (rows, self.shape.hidden)) for stream in self.stream]
        made: Sequence[Value] = ()
        for _ in range(times):
            queries, keys = model.queries(s, layer, x, 0), model.keys(s, layer, 0)
            for rank, pair in enumerate(keys):
                self.keep(s, rank, pair, rows)
            x = made = model.finish(s, layer, x, queries)
        for value in made:
            s.drop(value)

    def keep(self, s: Script, rank: int, pair: tuple[Value, Value], rows: Size) -> None:
        """Writes the keys and values of `rows` tokens to the pool."""
        heads, dim = self.kv_heads[rank], self.shape.head_dim
        for value, pool in zip(pair, self.pools[rank], strict=True):
            s.op("kv_write", value.reshape(rows, heads, 1, dim), out=View(pool, 0, (rows, heads, 1, dim)),
                 position=0, tokens=1)  # fmt: skip

    def _emit_embedding(self, s: Script) -> None:
        rows = symbol("T")
        made = self._model(self._software[0]).embed(s, [View(ids, 0, (rows,)) for ids in self.ids], 0)
        for value in made:
            s.drop(value)

    def _emit_head(self, s: Script) -> None:
        rows = symbol("T")
        x = [View(stream, 0, (rows, self.shape.hidden)) for stream in self.stream]
        self._model(self._software[0]).head(s, x, None, View(self.next_ids, 0, (rows,)))  # type: ignore[arg-type]

    def _emit_decode(self, s: Script, layer: int, times: int) -> None:
        rows, context = symbol("R"), symbol("C")
        for rank, query in list(enumerate(self.query)) * times:
            heads, dim = self.kv_heads[rank], self.shape.head_dim
            keys, values = (View(pool, 0, (rows, heads, context, dim)) for pool in self.pools[rank])
            starts = (symbol("S"),) if self.shape.window(layer) else ()
            out, lse = s.results(
                "decode_attention", View(query, 0, (rows, self.heads[rank], dim)), keys, values,
                tokens=(context,), starts=starts, scale=self.shape.attention_scale,
            )  # fmt: skip
            for made in (out, lse):
                assert isinstance(made, Value)
                s.drop(made)

    def _emit_chunk(self, s: Script, times: int) -> None:
        rows, tokens = symbol("T"), symbol("N")
        for rank, query in list(enumerate(self.query)) * times:
            heads, dim = self.kv_heads[rank], self.shape.head_dim
            keys, values = (View(pool, 0, (tokens, 1, heads, dim)) for pool in self.pools[rank])
            queries = rows, 1, self.heads[rank]
            out, lse = s.results(
                "block_attention", View(query, 0, (*queries, dim)), keys, values,
                makes=[(query.dtype, (*queries, dim)), ("fp32", queries)],
                scale=self.shape.attention_scale, offset=symbol("O"),
            )  # fmt: skip
            for made in (out, lse):
                assert isinstance(made, Value)
                s.drop(made)


def layer_kinds(shape: ModelShape) -> tuple[tuple[int, int], ...]:
    """The first layer of every kind, and how many layers are like it: by window, and whether it has experts."""
    found: dict[tuple[int, bool], list[int]] = {}
    for layer in range(shape.layers):
        has_experts = shape.experts is not None and shape.experts.of_layer(layer)
        found.setdefault((shape.window(layer), has_experts), []).append(layer)
    return tuple((layers[0], len(layers)) for layers in found.values())
