"""The shape of a decoder model: all that a plan, a cost and a memory budget need, and no weight."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

from controller.models.expert_shape import ExpertShape
from controller.models.latent_shape import LatentShape
from controller.models.quantization import Quantization, stored
from node.hardware.operation import ITEM_BYTES

FAMILIES = (
    "opt", "gpt", "llama", "gemma3", "gemma2", "gpt_neox", "falcon", "olmo2", "mixtral", "qwen3_moe", "deepseek",
    "gpt_oss", "qwen2_moe", "olmoe", "granitemoe", "phimoe", "glm4_moe", "llama4", "gemma", "cohere", "stablelm",
    "starcoder2", "phi", "glm", "smollm3",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class ModelShape:
    """A decoder-only transformer with norms before attention and before the feed-forward.

    Attributes:
        name: what people call it.
        family: one of `FAMILIES`; ``llama`` is also Mistral, Qwen, Granite and Phi-3, ``deepseek`` V2 and V3.
        hidden: width of the residual stream.
        layers, heads, kv_heads, head_dim: as in the field; ``heads * head_dim`` may differ from `hidden`.
        intermediate: width inside the feed-forward.
        vocab: rows of the embedding table.
        max_positions: longest context that the model was made for [tokens].
        source: where the numbers come from.
        dtype: element type of the published weights.
        tie_word_embeddings: the head is the embedding table.
        norm: ``layer`` (weight and bias) or ``rms`` (weight).
        norm_eps: added to the variance.
        norm_offset: added to the weight of a norm; 1 for Gemma.
        activation: ``relu``, ``gelu``, ``gelu_tanh`` or ``silu``.
        gated: the feed-forward multiplies an activated gate with a second projection.
        qkv_bias, output_bias, ffn_bias: which linear layers have a bias.
        positions: ``learned`` (a table added to the embedding), ``rotary``, or ``alibi`` (none beside attention).
        position_offset: rows of the learned table before the one of position 0; 2 for OPT.
        rope_theta, rope_factor: of the rotation; positions are divided by the factor.
        rope_scaling: how the rotation was scaled for longer contexts, as JSON; "" for not at all.
        rope_local_theta: of layers with a sliding window, whose positions are not divided; 0 when they are as others.
        qk_norm: an RMS norm over each head of q and k, before the rotation.
        qk_norm_whole: that norm is over all heads together.
        attn_norm, ffn_norm: whether there is a norm before attention, before the feed-forward.
        post_norms: a norm after attention and one after the feed-forward, before the residual is added.
        embedding_scale: factor on the embedding.
        attention_scale: factor on the products of q and k.
        sliding_window: tokens that a sliding layer attends to, itself included; 0 when there is none.
        sliding_layers: for each layer whether it slides; empty when none does.
        head_bias: the head has a bias.
        sinks: every head has a logit that takes its share of the softmax and has no value.
        latent: attention over latent vectors; `head_dim` is then what of a query head does not rotate.
        experts: the feed-forward of layers that have experts; `intermediate` is that of the others.
        bos_token: put before a prompt, None for nothing.
        eos_tokens: any of them ends a text.
        quantization: how matrices are stored; None for as they are.
        kv_dtype: element type of what is cached; "" for that of activations.
        notes: what of the model a virtual run leaves out.
        without_values: those of `notes` for which no run with values is possible.
    """

    name: str
    family: str
    hidden: int
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    intermediate: int
    vocab: int
    max_positions: int
    source: str
    dtype: str = "fp16"
    tie_word_embeddings: bool = True
    norm: str = "layer"
    norm_eps: float = 1e-5
    norm_offset: float = 0.0
    activation: str = "relu"
    gated: bool = False
    qkv_bias: bool = True
    output_bias: bool = True
    ffn_bias: bool = True
    positions: str = "learned"
    position_offset: int = 0
    rope_theta: float = 10_000.0
    rope_factor: float = 1.0
    rope_scaling: str = ""
    rope_local_theta: float = 0.0
    qk_norm: bool = False
    qk_norm_whole: bool = False
    attn_norm: bool = True
    ffn_norm: bool = True
    post_norms: bool = False
    embedding_scale: float = 1.0
    attention_scale: float = 1.0
    sliding_window: int = 0
    sliding_layers: tuple[bool, ...] = ()
    sinks: bool = False
    head_bias: bool = False
    latent: LatentShape | None = None
    experts: ExpertShape | None = None
    bos_token: int | None = None
    eos_tokens: tuple[int, ...] = ()
    quantization: Quantization | None = None
    kv_dtype: str = ""
    notes: tuple[str, ...] = ()
    without_values: tuple[str, ...] = ()

    @property
    def parts(self) -> tuple[str, ...]:
        """Parts that not every strategy takes: ``experts``, ``capacity``, ``latents``, ``sinks``, ``kv_type``."""
        has = {
            "experts": self.experts is not None,
            "capacity": self.experts is not None and self.experts.capacity_factor > 0,
            "latents": self.latent is not None, "sinks": self.sinks, "kv_type": self.kv_dtype not in ("", self.dtype),
        }  # fmt: skip
        return tuple(part for part, there in has.items() if there)

    @property
    def q_size(self) -> int:
        """Columns of all query heads together."""
        return self.heads * self.head_dim

    @property
    def kv_size(self) -> int:
        """Columns of all key heads together; values have as many."""
        return self.kv_heads * self.head_dim

    def is_global(self, layer: int) -> bool:
        """Whether `layer` attends to the whole context."""
        return not (self.sliding_layers and self.sliding_layers[layer])

    def window(self, layer: int) -> int:
        """Tokens that a token of `layer` attends to, itself included; 0 for all."""
        return 0 if self.is_global(layer) else self.sliding_window

    def first_attended(self, layer: int, tokens: int) -> int:
        """First of `tokens` cached tokens that the last of them attends to in `layer`."""
        window = self.window(layer)
        return max(0, tokens - window) if window else 0

    def rotation(self, layer: int) -> tuple[float, float]:
        """Theta and position factor of the rotary embedding in `layer`."""
        if self.rope_local_theta and not self.is_global(layer):
            return self.rope_local_theta, 1.0
        return self.rope_theta, self.rope_factor

    def scaling(self, layer: int) -> str:
        """Scaling of the rotary embedding in `layer` for longer contexts, as JSON."""
        return "" if self.rope_local_theta and not self.is_global(layer) else self.rope_scaling

    @property
    def parameter_count(self) -> int:
        """Number of weights; a tied head counts once."""
        return sum(prod(extents) for extents in weight_shapes(self).values())

    def weight_bytes(self, dtype: str = "") -> int:
        """Size of all weights as they are stored [bytes], in their published type unless told otherwise."""
        kinds = (
            stored(self.quantization, name, dtype or self.dtype, each) for name, each in weight_shapes(self).items()
        )
        return sum(ITEM_BYTES[kind] * prod(extents) for kind, extents in kinds)

    def kv_bytes_per_token(self, dtype: str = "") -> int:
        """Size of what is cached of one token in all layers, keys and values or latents [bytes]."""
        width = 2 * self.kv_size if self.latent is None else self.latent.token_width
        return self.layers * width * ITEM_BYTES[dtype or self.kv_dtype or self.dtype]

    @property
    def active_parameter_count(self) -> int:
        """Number of weights that one token meets: all but those of experts that are not chosen for it."""
        if self.experts is None:
            return self.parameter_count
        idle = self.experts.count - self.experts.chosen
        unmet = sum(
            prod(extents) // self.experts.count * idle
            for name, extents in weight_shapes(self).items()
            if ".expert_" in name
        )
        return self.parameter_count - unmet


def weight_shapes(shape: ModelShape) -> dict[str, tuple[int, ...]]:
    """Canonical name to shape of every weight, in the order in which a forward pass reads them.

    A linear weight is (outputs, inputs). A tied head has no entry of its own.
    """
    shapes: dict[str, tuple[int, ...]] = {"embed": (shape.vocab, shape.hidden)}
    if shape.positions == "learned":
        shapes["positions"] = (shape.max_positions + shape.position_offset, shape.hidden)
    for layer in range(shape.layers):
        for name, extents in layer_shapes(shape, layer).items():
            shapes[f"layers.{layer}.{name}"] = extents
    _norm(shapes, "final_norm", shape)
    if not shape.tie_word_embeddings:
        shapes["head"] = (shape.vocab, shape.hidden)
    if shape.head_bias:
        shapes["head.bias"] = (shape.vocab,)
    return shapes


def layer_shapes(shape: ModelShape, layer: int = 0) -> dict[str, tuple[int, ...]]:
    """Name within `layer` to shape of each of its weights, in the order in which a forward pass reads them."""
    shapes: dict[str, tuple[int, ...]] = {}
    if shape.attn_norm:
        _norm(shapes, "attn_norm", shape)
    if shape.latent is None:
        _head_attention(shapes, shape)
    else:
        shapes |= shape.latent.weights(shape.hidden, shape.heads, shape.head_dim)
    if shape.post_norms:
        _norm(shapes, "post_attn_norm", shape)
    if shape.ffn_norm:
        _norm(shapes, "ffn_norm", shape)
    if shape.experts is not None and shape.experts.of_layer(layer):
        shapes |= shape.experts.weights(shape.hidden)
    else:
        if shape.gated:
            _linear(shapes, "gate", shape.intermediate, shape.hidden, shape.ffn_bias)
        _linear(shapes, "up", shape.intermediate, shape.hidden, shape.ffn_bias)
        _linear(shapes, "down", shape.hidden, shape.intermediate, shape.ffn_bias)
    if shape.post_norms:
        _norm(shapes, "post_ffn_norm", shape)
    return shapes


def _head_attention(shapes: dict[str, tuple[int, ...]], shape: ModelShape) -> None:
    _linear(shapes, "q", shape.q_size, shape.hidden, shape.qkv_bias)
    _linear(shapes, "k", shape.kv_size, shape.hidden, shape.qkv_bias)
    _linear(shapes, "v", shape.kv_size, shape.hidden, shape.qkv_bias)
    if shape.qk_norm:
        shapes["q_norm.weight"] = (shape.q_size if shape.qk_norm_whole else shape.head_dim,)
        shapes["k_norm.weight"] = (shape.kv_size if shape.qk_norm_whole else shape.head_dim,)
    if shape.sinks:
        shapes["sinks.weight"] = (shape.heads,)
    _linear(shapes, "o", shape.hidden, shape.q_size, shape.output_bias)


def _linear(shapes: dict[str, tuple[int, ...]], name: str, outputs: int, inputs: int, bias: bool) -> None:
    shapes[f"{name}.weight"] = (outputs, inputs)
    if bias:
        shapes[f"{name}.bias"] = (outputs,)


def _norm(shapes: dict[str, tuple[int, ...]], name: str, shape: ModelShape) -> None:
    shapes[f"{name}.weight"] = (shape.hidden,)
    if shape.norm == "layer":
        shapes[f"{name}.bias"] = (shape.hidden,)
