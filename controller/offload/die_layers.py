"""Layers of DeepSeek's shape on one die of a group, in fused operators with products in int8.

Follows: CloudMatrix-Infer, arXiv 2506.12708, sections 4.2 and 4.3: MLAProlog, FusedAttention, O_Proj on one stream;
    gate, dispatch, experts and combine on the other.
An operator starts after `start_s`; kernels inside of it are not launched. What a dispatch or combine does beside moving
bytes (quantising, a barrier, counts) is one declared time each; messages that have come are put into order, and what
comes back is summed, in memory.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from controller.models.formats import FORMATS
from controller.models.shape import ModelShape
from controller.offload.die_group import FLAG_BYTES, DieGroup
from controller.offload.die_turns import Parts, at_once
from controller.plan.ops import Buffer
from controller.plan.script import Script, Source, Value
from controller.plan.size import Size
from controller.program.run import Run
from node.hardware.packed import PACKED, rounded_bytes

MESSAGE_BYTES = 7_680
"""Dispatch: 7,168 elements in int8 and a scale padded to 512 B, for each token and expert (section 4.2.1) [bytes]."""
DTYPE = "bf16"
_FORMAT = FORMATS["int8"]
assert _FORMAT is not None
INT8 = _FORMAT
"""Weights with a scale a row, activations with a scale a token."""


@dataclass(frozen=True, slots=True)
class DieRules:
    """What is declared of the operators.

    Attributes:
        start_s: start of an operator [s].
        dispatch_s, combine_s: what a dispatch and a combine do beside moving bytes [s].
        busiest: rows of the busiest die over the mean; all others wait for it [ratio].
        attention_queue, expert_queue: queues that the two halves of a layer run on.
        vector_queue: where tokens are quantised, permuted and summed beside products, in kernels of their own; "" for
            inside of the fused dispatch and combine.
    """

    start_s: float
    dispatch_s: float
    combine_s: float
    busiest: float
    attention_queue: str
    expert_queue: str
    vector_queue: str = ""


class DieLayers:
    """The layers of a model on one die, with the weights and caches that it holds."""

    def __init__(self, shape: ModelShape, group: DieGroup, rules: DieRules, slots: int) -> None:
        assert shape.experts is not None and shape.latent is not None
        self.shape, self.experts, self.latent = shape, shape.experts, shape.latent
        self.group, self.rules, self.slots = group, rules, slots
        self._buffers: dict[str, Buffer] = {}

    def place(self, run: Run) -> None:
        """Allocates weights and caches."""
        for buffer in self._buffers.values():
            run.place(buffer, written=True)

    def release(self, run: Run) -> None:
        """Frees them."""
        for buffer in self._buffers.values():
            run.release(buffer)

    def buffer(self, name: str, dtype: str, *extents: int) -> Buffer:
        """A weight or a cache of the die."""
        if name not in self._buffers:
            self._buffers[name] = Buffer(self.group.place.device, self.group.place.tier, name, dtype, extents)
        return self._buffers[name]

    def entering(self, s: Script, tokens: int) -> Value:
        """The residual stream (t, n) of new tokens."""
        table = self.buffer("embed", DTYPE, self.shape.vocab, self.shape.hidden)
        ids = self.buffer(f"ids.{s.microbatch}", "int64", tokens)
        queue = self.rules.attention_queue
        self.start(s, queue, "embedding")
        return s.op("embedding", table, ids, on=self.group.place, scale=1.0, queue=queue, label="embedding")

    def start(self, s: Script, queue: str, label: str, seconds: float = 0.0, after: Sequence[int] = ()) -> int:
        """Start of an operator, and what it does for a declared time."""
        s.results("delay", on=self.group.place, out=(), queue=queue, label=label, after=after,
                  seconds=self.rules.start_s + seconds)  # fmt: skip
        return s.count - 1

    def product(self, s: Script, name: str, x: Value | Buffer, columns: int, queue: str, label: str) -> Value:
        """`x` (t, k) in int8 with a scale a row, times a weight in int8."""
        length = x.shape[1]
        assert isinstance(length, int)
        weight = self.buffer(name, PACKED, columns, INT8.row_bytes(length))
        return s.op(
            "packed_linear", self.rounded(s, x, queue, label), weight, queue=queue, label=label, result=DTYPE,
            format=INT8.packed.text, scales=INT8.scales,
        )  # fmt: skip

    def rounded(self, s: Script, x: Value | Buffer, queue: str, label: str) -> Value:
        """`x` in int8 with a scale a row."""
        return s.op("round_rows", x, queue=queue, label=label, scales=INT8.scales, kind=INT8.kind)

    def norm(self, s: Script, name: str, x: Value, queue: str, label: str) -> Value:
        """RMS norm of `x`."""
        width = x.shape[-1]
        assert isinstance(width, int)
        return s.op("rms_norm", x, self.buffer(name, DTYPE, width), eps=self.shape.norm_eps, queue=queue, label=label)

    def latents(self, s: Script, layer: str, x: Value) -> tuple[Value, Value, Value, Value]:
        """MLAProlog up to queries (t, h*d), (t, h*p), latents (t, r) and rotated keys (t, p)."""
        queue, label, latent, heads = self.rules.attention_queue, "MLAProlog", self.latent, self.shape.heads
        self.start(s, queue, label)
        normed = self.norm(s, f"{layer}.attn_norm", x, queue, label)
        down = self.product(s, f"{layer}.q_down", normed, latent.query_rank, queue, label)
        cached = self.product(s, f"{layer}.kv_down", normed, latent.kv_rank + latent.rope_dim, queue, label)
        down = self.norm(s, f"{layer}.q_norm", down, queue, label)
        both = self.product(s, f"{layer}.q", down, heads * (self.shape.head_dim + latent.rope_dim), queue, label)
        q, q_rope = split_columns(s, both, heads * latent.rope_dim, queue, label)
        c, k_rope = split_columns(s, cached, latent.rope_dim, queue, label)
        c = self.norm(s, f"{layer}.kv_norm", c, queue, label)
        turned = [
            s.op("rotary", part, head_dim=latent.rope_dim, position=0, theta=1e4, queue=queue, label=label)
            for part in (q_rope, k_rope)
        ]
        return q, turned[0], c, turned[1]

    def decode(self, s: Script, layer: str, x: Value, sequences: int, context: Size, room: int) -> Value:
        """Attention of new tokens (t, n), t/sequences of each sequence, over cached latents."""
        queue, latent, heads = self.rules.attention_queue, self.latent, self.shape.heads
        tokens = x.shape[0]
        assert isinstance(tokens, int)
        q, q_rope, c, k_rope = self.latents(s, layer, x)
        k_up = self.buffer(f"{layer}.k_up", DTYPE, heads, self.shape.head_dim, latent.kv_rank)
        v_up = self.buffer(f"{layer}.v_up", DTYPE, heads, latent.value_dim, latent.kv_rank)
        by_heads = q.reshape(tokens, heads, self.shape.head_dim)
        absorbed = s.op("head_linear", by_heads, k_up, turned=True, queue=queue, label="MLAProlog")
        caches = []
        for name, new in (("c", c), ("k_rope", k_rope)):
            width = new.shape[-1]
            assert isinstance(width, int)
            cache = self.buffer(f"{layer}.{name}.{s.microbatch}", DTYPE, sequences, 1, room, width)
            each = new.reshape(sequences, 1, tokens // sequences, width)
            s.op("kv_write", each, out=cache, position=0, tokens=tokens // sequences, queue=queue, label="MLAProlog")
            caches.append(cache)
        per = heads * (tokens // sequences)  # the new tokens of a sequence read its latents together
        self.start(s, queue, "FusedAttention")
        mixed, lse = s.results(
            "latent_decode_attention", absorbed.reshape(sequences, per, latent.kv_rank),
            q_rope.reshape(sequences, per, latent.rope_dim), *caches, tokens=(context,),
            scale=self.shape.attention_scale, queue=queue, label="FusedAttention",
        )  # fmt: skip
        s.drop(lse)  # type: ignore[arg-type]
        assert isinstance(mixed, Value)
        self.start(s, queue, "O_Proj")
        values = s.op("head_linear", mixed.reshape(tokens, heads, latent.kv_rank), v_up, queue=queue, label="O_Proj")
        return self.projected(s, layer, x, values.reshape(tokens, heads * latent.value_dim))

    def projected(self, s: Script, layer: str, x: Value, attention: Value) -> Value:
        """Output projection and residual sum."""
        queue = self.rules.attention_queue
        made = self.product(s, f"{layer}.o", attention, self.shape.hidden, queue, "O_Proj")
        return s.op("add", x, made, queue=queue, label="O_Proj")

    def dense(self, s: Script, layer: str, x: Value) -> Value:
        """Feed-forward of the first layers."""
        queue, wide = self.rules.expert_queue, self.shape.intermediate
        self.start(s, queue, "MLP")
        normed = self.norm(s, f"{layer}.ffn_norm", x, queue, "MLP")
        gate, up = (self.product(s, f"{layer}.{name}", normed, wide, queue, "MLP") for name in ("gate", "up"))
        act = s.op("gated_activation", gate, up, kind=self.shape.activation, queue=queue, label="MLP")
        made = self.product(s, f"{layer}.down", act, self.shape.hidden, queue, "MLP")
        return s.op("add", x, made, queue=queue, label="MLP")

    def mixture(self, s: Script, layer: str, x: Value, copies: int) -> Value:
        """Gate, dispatch, experts, combine; `copies` is how many dies each token goes to."""
        return at_once(self.mixture_in_parts(s, layer, x, copies))

    def mixture_in_parts(
        self, s: Script, layer: str, x: Value, copies: int, *, own_shared: bool = False
    ) -> Parts:  # fmt: skip
        """The same, with a pause wherever bytes are on their way, so that another micro-batch can be emitted there.

        With `own_shared` the shared expert is on every die, for its own tokens.
        """
        rules, queue, hidden, e = self.rules, self.rules.expert_queue, self.shape.hidden, self.experts
        tokens = x.shape[0]
        assert isinstance(tokens, int)
        self.start(s, queue, "Gate")
        normed = self.norm(s, f"{layer}.ffn_norm", x, queue, "Gate")
        router = self.buffer(f"{layer}.router", DTYPE, e.count, hidden)
        scores = s.op("linear", normed, router, queue=queue, label="Gate")
        weights, chosen = s.results("expert_gate", scores, k=e.chosen, score=e.score, queue=queue, label="Gate")
        s.drop(weights)  # type: ignore[arg-type]
        s.drop(chosen)  # type: ignore[arg-type]
        aside = rules.vector_queue or queue
        begun = self.start(s, aside, "Dispatch", rules.dispatch_s, () if aside == queue else (s.count - 1,))
        rows = max(1, round(tokens * copies * rules.busiest))
        flag = self.buffer("flag", "int8", FLAG_BYTES)
        # What comes to the busiest die fills its port; the others wait for it.
        message = self.buffer(f"dispatched.{s.microbatch}", "int8", rows, MESSAGE_BYTES)
        if rules.vector_queue:
            begun = self._quantised(s, x, message, begun)
        sent = self.group.exchange(s, message, "Dispatch", (begun,))
        told = self.group.flags(s, flag, "Dispatch", sent or (begun,), a_peer=True)
        came: Sequence[int] = (*sent, *told)
        if own_shared:
            x = self._shared(s, layer, x)
        arrived = self.buffer(f"received.{s.microbatch}", "int8", rows, MESSAGE_BYTES)
        came = self._reordered(s, arrived, "Dispatch", came)
        yield
        started = self.start(s, queue, "MLP", after=came)
        made = self._fed(s, layer, rows, started)
        s.drop(made)
        begun = self.start(s, aside, "Combine", rules.combine_s, () if aside == queue else (s.count - 1,))
        message = self.buffer(f"returned.{s.microbatch}", "int8", rows, 2 * hidden)
        sent = self.group.exchange(s, message, "Combine", (begun,))
        told = self.group.flags(s, flag, "Combine", sent or (begun,), a_peer=False)
        self.start(s, aside, "Combine", -rules.start_s, after=(*sent, *told))
        queue_of_sum = rules.vector_queue or queue
        back = s.op(
            "expert_sum", self.buffer(f"back.{s.microbatch}", DTYPE, tokens * copies, hidden),
            self.buffer(f"order.{s.microbatch}", "int64", tokens * copies),
            self.buffer(f"gates.{s.microbatch}", "fp32", tokens, copies), on=self.group.place, queue=queue_of_sum,
            label="Combine", after=(s.count - 1,),
        )  # fmt: skip
        yield
        return s.op("add", x, back, queue=queue, label="Combine")

    def _quantised(self, s: Script, x: Value, message: Buffer, after: int) -> int:
        """Tokens in 8 bits, then a copy for every expert; the op after which messages lie ready."""
        queue, tail = self.rules.vector_queue, MESSAGE_BYTES - self.shape.hidden
        made = s.op("quantise_message", x, queue=queue, label="Dispatch", tail=tail, after=(after,))
        s.drop(made)
        return self._reordered(s, message, "Dispatch", (s.count - 1,))[0]

    def _reordered(self, s: Script, rows: Buffer, label: str, after: Sequence[int]) -> tuple[int]:
        """Rows read and written once in another order, by vector cores."""
        queue = self.rules.vector_queue or self.rules.expert_queue
        s.drop(s.op("copy", rows, on=self.group.place, queue=queue, label=label, after=after))
        return (s.count - 1,)

    def _shared(self, s: Script, layer: str, x: Value) -> Value:
        """The shared expert over the die's own tokens, added to the stream."""
        queue, wide = self.rules.expert_queue, self.experts.shared_intermediate
        self.start(s, queue, "shared expert")
        gate, up = (self.product(s, f"{layer}.shared_{n}", x, wide, queue, "shared expert") for n in ("gate", "up"))
        act = s.op("gated_activation", gate, up, kind=self.shape.activation, queue=queue, label="shared expert")
        made = self.product(s, f"{layer}.shared_down", act, self.shape.hidden, queue, "shared expert")
        return s.op("add", x, made, queue=queue, label="shared expert")

    def _fed(self, s: Script, layer: str, rows: int, after: int) -> Value:
        """The experts of the die over what came."""
        queue, hidden, wide = self.rules.expert_queue, self.shape.hidden, self.experts.intermediate
        arrived = self.buffer(f"arrived.{s.microbatch}", PACKED, rows, rounded_bytes(hidden, False))
        ends = self.buffer("ends", "int64", self.slots)

        def grouped(name: str, given: Source, length: int, columns: int) -> Value:
            weight = self.buffer(f"{layer}.{name}", PACKED, self.slots, columns, INT8.row_bytes(length))
            return s.op(
                "packed_grouped_linear", given, weight, ends, on=self.group.place, queue=queue, label="MLP",
                result=DTYPE, after=(after,), format=INT8.packed.text, scales=INT8.scales,
            )  # fmt: skip

        act = s.op(
            "gated_activation", *(grouped(name, arrived, hidden, wide) for name in ("expert_gate", "expert_up")),
            kind=self.shape.activation, queue=queue, label="MLP",
        )  # fmt: skip
        return grouped("expert_down", self.rounded(s, act, queue, "MLP"), wide, hidden)

    def head(self, s: Script, x: Value, name: str) -> None:
        """Final norm, logits and greedy choice."""
        queue = self.rules.attention_queue
        self.start(s, queue, "head")
        normed = self.norm(s, "final_norm", x, queue, "head")
        head = self.buffer("head", DTYPE, self.shape.vocab, self.shape.hidden)
        s.drop(s.op("argmax", s.op("linear", normed, head, queue=queue, label="head"), queue=queue, label=name))


def rows_of(x: Value) -> int:
    """First extent of a value of closed size."""
    rows = x.shape[0]
    assert isinstance(rows, int)
    return rows


def split_columns(s: Script, joined: Value, last: int, queue: str, label: str) -> tuple[Value, Value]:
    """All columns but the last ones, and those."""
    rows, width = joined.shape
    assert isinstance(width, int)
    kinds = [(joined.dtype, (rows, size)) for size in (width - last, last)]
    first, second = s.results("split", joined, makes=kinds, queue=queue, label=label)
    assert isinstance(first, Value) and isinstance(second, Value)
    return first, second
