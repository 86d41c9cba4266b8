"""A pass over prompts of CloudMatrix-Infer on one die: two micro-batches over cube cores, vector cores and SDMA.

Follows: arXiv 2506.12708, section 4.3. Attention is cut three ways: each die has its share of all tokens for the
down-projections, its heads for attention over the tokens of all dies, and its share of tokens again for the output
projection; latents are gathered before attention, what it gives is exchanged after. Cube cores compute attention and
products, vector cores quantise and permute tokens for the experts and sum what comes back, SDMA moves all bytes, so
that one micro-batch computes while the other one is on its way.
Differs: the heads are cut over all dies of the instance (the paper's degree is not published: assumed).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil

from controller.errors import BadWorkload
from controller.models.shape import ModelShape
from controller.offload.die_decode import fixed_s
from controller.offload.die_group import die_group
from controller.offload.die_layers import DTYPE, DieLayers, DieRules, rows_of, split_columns
from controller.offload.die_turns import Parts, in_turns
from controller.offload.scratch import Scratch
from controller.plan.ops import Plan
from controller.plan.ranges import even_ranges
from controller.plan.script import Script, Value
from controller.topology.schema import Topology

CUBES, VECTORS = "fused", "stream"
"""Queues of a die: products and attention, and what vector cores do beside them; an operator starts on either."""


@dataclass(frozen=True, slots=True)
class PrefillSetting:
    """One pass of a prefill instance.

    Attributes:
        dies: of the instance; experts, heads and tokens are spread over all.
        tokens: of each die, new ones.
        prompt: tokens of a prompt, cached ones included.
        cached: of them, already in the KV cache.
        microbatches: that take turns on the cores.
        redundant: second copies of experts, over all dies.
        busiest: rows of the busiest die over the mean; 1 for perfect balance [ratio].
    """

    dies: int = 32
    tokens: int = 8192
    prompt: int = 4096
    cached: int = 0
    microbatches: int = 2
    redundant: int = 32
    busiest: float = 1.0


def prefill_plan(
    topology: Topology, shape: ModelShape, setting: PrefillSetting, mixtures: int | None = None
) -> tuple[Plan, DieLayers, Scratch]:
    """The pass, what the die holds, and its scratch.

    Args:
        topology: of the dies.
        shape: of a model with experts and latent attention.
        setting: of the instance.
        mixtures: number of layers with experts, with the head alone; None for the whole model.

    Raises:
        BadWorkload: heads that do not divide over the dies.
    """
    experts = shape.experts
    assert experts is not None and shape.latent is not None
    if shape.heads % setting.dies:
        raise BadWorkload(
            f"{shape.heads} heads of {shape.name} do not divide over {setting.dies} dies of a prefill instance; write "
            f"--cluster-option prefill_ep=N with a divisor of {shape.heads}"
        )
    group = die_group(topology, setting.dies)
    spec = topology.devices[group.place.device].spec
    start_s = spec.compute_queue.launch_s if spec.compute_queue is not None else 0.0
    rules = DieRules(start_s, *fixed_s(spec, shape), setting.busiest, CUBES, CUBES, VECTORS)
    slots = ceil((experts.count + setting.redundant) / setting.dies)
    die, scratch = DieLayers(shape, group, rules, slots), Scratch("prefill")
    s = Script("prefill", scratch)
    parts = [stop - begin for begin, stop in even_ranges(setting.tokens, setting.microbatches) if stop > begin]
    streams = []
    for s.microbatch, tokens in enumerate(parts):
        streams.append(die.entering(s, tokens))
    first = 0 if mixtures is None else experts.first_dense
    for layer in range(first, shape.layers if mixtures is None else first + mixtures):
        streams = in_turns(s, [_layer(s, die, setting, layer, x) for x in streams])
    for s.microbatch, x in enumerate(streams):
        rows = max(1, min(rows_of(x), round(rows_of(x) / (setting.prompt - setting.cached))))
        die.head(s, x.part(0, (rows, shape.hidden)), "sampled")
    return s.plan(), die, scratch


def _layer(s: Script, die: DieLayers, setting: PrefillSetting, layer: int, x: Value) -> Parts:
    """A layer of a micro-batch."""
    name = f"layers.{layer}"
    x = yield from _attended(s, die, setting, name, x)
    if die.experts.of_layer(layer):
        return (yield from die.mixture_in_parts(s, name, x, die.experts.chosen, own_shared=True))
    return die.dense(s, name, x)


def _attended(s: Script, die: DieLayers, setting: PrefillSetting, layer: str, x: Value) -> Parts:
    """Attention of a micro-batch and its residual sum."""
    shape, latent = die.shape, die.latent
    tokens, heads = x.shape[0], shape.heads // setting.dies
    assert isinstance(tokens, int)
    die.start(s, CUBES, "MLAProlog")
    normed = die.norm(s, f"{layer}.attn_norm", x, CUBES, "MLAProlog")
    widths = latent.query_rank, latent.kv_rank + latent.rope_dim
    downs = [
        die.product(s, f"{layer}.{name}", normed, width, CUBES, "MLAProlog")
        for name, width in zip(("q_down", "kv_down"), widths, strict=True)
    ]
    for down in downs:
        s.drop(down)
    made = s.count - 1
    everybody = setting.dies * tokens
    sent = die.buffer(f"gathered.{s.microbatch}", "int8", everybody, 2 * sum(widths))
    there = _arrived(s, die, die.group.exchange(s, sent, "all-gather", (made,)), made)
    yield
    new = setting.prompt - setting.cached
    batch = max(1, round(everybody / new))
    rows = everybody // batch
    attended = _by_heads(s, die, setting, layer, (batch, rows, heads), there)
    s.drop(attended)
    made = s.count - 1
    width = shape.heads * latent.value_dim
    sent = die.buffer(f"exchanged.{s.microbatch}", "int8", tokens, 2 * width)
    there = _arrived(s, die, die.group.exchange(s, sent, "all-to-all", (made,)), made)
    yield
    die.start(s, CUBES, "O_Proj", after=there)
    own = die.buffer(f"attended.{s.microbatch}", DTYPE, tokens, width)
    product = die.product(s, f"{layer}.o", own, shape.hidden, CUBES, "O_Proj")
    return s.op("add", x, product, queue=CUBES, label="O_Proj")


def _arrived(s: Script, die: DieLayers, sent: Sequence[int], made: int) -> tuple[int, ...]:
    """A die has received as much as it has sent once all of it has left; a die alone continues at once."""
    return tuple(sent) or (made,)


def _by_heads(
    s: Script, die: DieLayers, setting: PrefillSetting, layer: str, extents: tuple[int, int, int],
    after: Sequence[int],
) -> Value:  # fmt: skip
    """Attention (batch, rows, heads * v) of this die's heads over the tokens of all dies."""
    shape, latent, (batch, rows, heads) = die.shape, die.latent, extents
    keys = rows + setting.cached
    queries = die.buffer(f"latents_q.{s.microbatch}", DTYPE, batch * rows, latent.query_rank)
    cached = die.buffer(f"latents_kv.{s.microbatch}", DTYPE, batch, keys, latent.kv_rank)
    turned = die.buffer(f"turned.{s.microbatch}", DTYPE, batch, keys, latent.rope_dim)
    die.start(s, CUBES, "Attention", after=after)
    label = "Attention"
    both = die.product(s, f"{layer}.q", queries, heads * (shape.head_dim + latent.rope_dim), CUBES, label)
    q, q_rope = (
        part.reshape(batch, rows, heads * width)
        for part, width in zip(
            split_columns(s, both, heads * latent.rope_dim, CUBES, label), (shape.head_dim, latent.rope_dim),
            strict=True,
        )
    )  # fmt: skip
    k, v = (
        s.op("linear", cached, die.buffer(f"{layer}.{name}", DTYPE, heads * width, latent.kv_rank),
             queue=CUBES, label=label)
        for name, width in (("k_up", shape.head_dim), ("v_up", latent.value_dim))
    )  # fmt: skip
    q_rope = s.op("rotary", q_rope, head_dim=latent.rope_dim, position=0, theta=1e4, queue=CUBES, label=label)
    return s.op(
        "latent_prefill_attention", q, q_rope, k, turned, v, heads=heads, scale=shape.attention_scale,
        offset=setting.cached, queue=CUBES, label=label,
    )  # fmt: skip
