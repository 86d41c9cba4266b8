"""A decoder in plain torch, one process, no plan: the slow and obvious twin of what strategies run on devices.

It keeps no cache: each token runs the whole text again, so that a mistake in caching cannot hide in both. The tests
compare it with transformers.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from controller.models.expert_shape import ExpertShape
from controller.models.latent_shape import LatentShape
from controller.models.plain_experts import chosen_experts, gated_by_expert, passes, without_overflow
from controller.models.shape import ModelShape, weight_shapes
from controller.models.weights import Weights
from node.hardware.rope_scaling import scaled_frequencies

if TYPE_CHECKING:
    from torch import Tensor


class PlainDecoder:
    """One model with its weights, float32.

    Attributes:
        made_by: what a comparison calls it.
    """

    made_by = "plain torch"

    def __init__(self, weights: Weights, prompt_tokens: int = 0, prompt_rows: int = 1) -> None:
        """Makes it.

        Args:
            weights: of the model.
            prompt_tokens: of the first pass over a row, which decides with whom a token competes for a full expert.
            prompt_rows: rows that such a pass takes.
        """
        self._prompt_tokens, self._prompt_rows = prompt_tokens, prompt_rows
        self.shape, self._weights = weights.shape, weights
        self._names = weight_shapes(weights.shape)
        self._loaded: dict[str, Tensor] = {}

    def logits(self, ids: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
        """Logits (rows, vocab) after the last of the tokens `ids` (rows, tokens)."""
        import torch

        shape = self.shape
        with torch.no_grad():
            tokens = ids.shape[1]
            x = self._weight("embed")[torch.from_numpy(ids)] * shape.embedding_scale
            if shape.positions == "learned":
                x = x + self._weight("positions")[shape.position_offset : shape.position_offset + tokens]
            for layer in range(shape.layers):
                x = x + self._attention(layer, self._norm(f"layers.{layer}.attn_norm", x))
                x = x + self._feed_forward(layer, self._norm(f"layers.{layer}.ffn_norm", x))
            last = self._norm("final_norm", x[:, -1])
            head = self._weight("embed" if shape.tie_word_embeddings else "head")
            values: npt.NDArray[np.float32] = (last @ head.T).numpy()
            return values

    def _attention(self, layer: int, x: Tensor) -> Tensor:
        shape, at = self.shape, f"layers.{layer}"
        if shape.latent is not None:
            return self._latent_attention(layer, x, shape.latent)
        rows, tokens, _ = x.shape
        q = self._linear(f"{at}.q", x).view(rows, tokens, shape.heads, shape.head_dim)
        k = self._linear(f"{at}.k", x).view(rows, tokens, shape.kv_heads, shape.head_dim)
        v = self._linear(f"{at}.v", x).view(rows, tokens, shape.kv_heads, shape.head_dim)
        if shape.qk_norm:
            q, k = self._norm(f"{at}.q_norm", q), self._norm(f"{at}.k_norm", k)
        if shape.positions == "rotary":
            q, k = rotated(shape, layer, q), rotated(shape, layer, k)

        def held(cached: Callable[[Tensor], Tensor]) -> tuple[Tensor, Tensor]:
            keys, values = (cached(one).repeat_interleave(shape.heads // shape.kv_heads, dim=2) for one in (k, v))
            return keys, values

        mixed = self.mix_passes(layer, q, held)
        out = self._linear(f"{at}.o", mixed.reshape(rows, tokens, shape.q_size))
        return self._norm(f"{at}.post_attn_norm", out) if shape.post_norms else out

    def _latent_attention(self, layer: int, x: Tensor, latent: LatentShape) -> Tensor:
        """As DeepSeek-V2, arXiv 2405.04434, equations 9 to 19, with keys and values of every head."""
        import torch

        shape, at = self.shape, f"layers.{layer}"
        rows, tokens, _ = x.shape
        source = self._norm(f"{at}.q_down_norm", self._linear(f"{at}.q_down", x)) if latent.query_rank else x
        q, c = self._linear(f"{at}.q", source), self._linear(f"{at}.kv_down", x)
        q, q_rope = q[..., : shape.q_size], q[..., shape.q_size :]
        c, k_rope = c[..., : latent.kv_rank], c[..., latent.kv_rank :]
        c = self._norm(f"{at}.kv_norm", c)
        q, q_rope = (part.reshape(rows, tokens, shape.heads, -1) for part in (q, q_rope))
        q_rope, k_rope = rotated(shape, layer, q_rope), rotated(shape, layer, k_rope[:, :, None])

        def held(cached: Callable[[Tensor], Tensor]) -> tuple[Tensor, Tensor]:
            kept = cached(c)
            k, v = (self._linear(f"{at}.{name}", kept).view(rows, tokens, shape.heads, -1) for name in ("k_up", "v_up"))
            return torch.cat([k, cached(k_rope).expand(q_rope.shape)], -1), v

        mixed = self.mix_passes(layer, torch.cat([q, q_rope], -1), held)
        return self._linear(f"{at}.o", mixed.flatten(2))

    def mix_passes(
        self, layer: int, q: Tensor, held: Callable[[Callable[[Tensor], Tensor]], tuple[Tensor, Tensor]]
    ) -> Tensor:
        """Attention of every query q (rows, tokens, heads, d) over keys and values as their cache holds them.

        Args:
            layer: number.
            q: queries.
            held: keys and values, given what a cache makes of what it keeps; here it keeps all as it is.
        """
        return self.mix(layer, q, *held(lambda x: x))

    def mix(self, layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Attention of every token over itself and those before: q, k, v (rows, tokens, heads, head_dim) -> as q."""
        import torch

        shape, tokens = self.shape, q.shape[1]
        scores = torch.einsum("bihd,bjhd->bhij", q, k) * shape.attention_scale
        i, j = torch.arange(tokens)[:, None], torch.arange(tokens)[None, :]
        seen = j <= i
        if shape.window(layer):
            seen &= j > i - shape.window(layer)
        scores = scores.masked_fill(~seen, -torch.inf)
        if shape.sinks:
            sinks = self._weight(f"layers.{layer}.sinks.weight")[None, :, None, None].expand(*scores.shape[:3], 1)
            weights = torch.cat([scores, sinks], -1).softmax(-1)[..., :-1]
        else:
            weights = scores.softmax(-1)
        return torch.einsum("bhij,bjhd->bihd", weights, v)

    def _feed_forward(self, layer: int, x: Tensor) -> Tensor:
        shape, at = self.shape, f"layers.{layer}"
        if shape.experts is not None and shape.experts.of_layer(layer):
            return self._experts(layer, x, shape.experts)
        up = self._linear(f"{at}.up", x)
        if shape.gated:
            inner = activated(shape.activation, self._linear(f"{at}.gate", x)) * up
        else:
            inner = activated(shape.activation, up)
        out = self._linear(f"{at}.down", inner)
        return self._norm(f"{at}.post_ffn_norm", out) if shape.post_norms else out

    def _experts(self, layer: int, x: Tensor, experts: ExpertShape) -> Tensor:
        shape, at = self.shape, f"layers.{layer}"
        flat = x.flatten(0, 1)
        bias = self._weight(f"{at}.router_choice.bias") if experts.choice_bias else None
        chosen = chosen_experts(experts, self._linear(f"{at}.router", flat), bias)
        if experts.capacity_factor:
            rows, tokens, _ = x.shape
            groups = passes(rows, tokens, self._prompt_tokens, self._prompt_rows)
            chosen = without_overflow(experts, chosen, groups)
        activate = partial(activated, shape.activation)
        out = gated_by_expert(experts, activate, lambda name: self._weight(f"{at}.{name}"), flat, chosen)
        if experts.shared_intermediate:
            inner = activate(self._linear(f"{at}.shared_gate", flat)) * self._linear(f"{at}.shared_up", flat)
            shared = self._linear(f"{at}.shared_down", inner)
            if experts.shared_gate:
                shared = shared * self._linear(f"{at}.shared_choice", flat).sigmoid()
            out = out + shared
        return out.view(x.shape)

    def _norm(self, name: str, x: Tensor) -> Tensor:
        shape, weight = self.shape, self._weight(f"{name}.weight")
        if shape.norm == "layer":
            centred = x - x.mean(-1, keepdim=True)
            scaled = centred / (centred.square().mean(-1, keepdim=True) + shape.norm_eps).sqrt()
            return scaled * weight + self._weight(f"{name}.bias")
        return x / (x.square().mean(-1, keepdim=True) + shape.norm_eps).sqrt() * (shape.norm_offset + weight)

    def _linear(self, name: str, x: Tensor) -> Tensor:
        out = x @ self._weight(f"{name}.weight").T
        return out + self._weight(f"{name}.bias") if f"{name}.bias" in self._names else out

    def _weight(self, name: str) -> Tensor:
        import torch

        if name not in self._loaded:
            self._loaded[name] = torch.tensor(np.asarray(self._weights.tensor(name), dtype=np.float32))
        return self._loaded[name]


def rotated(shape: ModelShape, layer: int, x: Tensor) -> Tensor:
    """`x` (rows, tokens, heads, d) with each head turned by its position, first half against second.

    Source: Su et al. 2021, arXiv 2104.09864, section 3.4; halves instead of pairs as in the released Llama weights of
    transformers.
    """
    import torch

    theta, factor = shape.rotation(layer)
    half = x.shape[-1] // 2
    frequency, weight = theta ** (-torch.arange(half, dtype=torch.float32) / half), 1.0
    if scaling := shape.scaling(layer):
        each, weight = scaled_frequencies(2 * half, theta, scaling, x.shape[1])
        frequency = torch.tensor(each, dtype=torch.float32)
    angle = (torch.arange(x.shape[1], dtype=torch.float32) / factor)[:, None] * frequency
    cosine, sine = weight * angle.cos()[:, None, :], weight * angle.sin()[:, None, :]
    first, second = x[..., :half], x[..., half:]
    return torch.cat([first * cosine - second * sine, second * cosine + first * sine], -1)


def activated(kind: str, x: Tensor) -> Tensor:
    """`x` through the activation called `kind`."""
    from torch.nn import functional

    if kind == "relu":
        return functional.relu(x)
    if kind == "silu":
        return functional.silu(x)
    return functional.gelu(x, approximate="tanh" if kind == "gelu_tanh" else "none")
