"""The shape of multi-head latent attention: what is cached for a token instead of keys and values."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class LatentShape:
    """Attention whose keys and values are projections of one latent vector a token.

    Source: DeepSeek-V2, arXiv 2405.04434, section 2.1.

    Attributes:
        kv_rank: width of the latents.
        rope_dim: of each query head, and of the one key that all heads share, what rotates.
        value_dim: width of a head's values.
        query_rank: width of what queries are projected from; 0 where they come from the stream itself.
    """

    kv_rank: int
    rope_dim: int
    value_dim: int
    query_rank: int = 0

    @property
    def token_width(self) -> int:
        """Elements that are cached for a token of a layer."""
        return self.kv_rank + self.rope_dim

    def weights(self, hidden: int, heads: int, head_dim: int) -> dict[str, tuple[int, ...]]:
        """Name within a layer to shape of each weight of attention.

        Rows of ``q`` are what does not rotate of all heads, then what rotates; of ``kv_down`` the latent, then the
        rotated key.
        """
        shapes: dict[str, tuple[int, ...]] = {}
        if self.query_rank:
            shapes["q_down.weight"] = (self.query_rank, hidden)
            shapes["q_down_norm.weight"] = (self.query_rank,)
        shapes["q.weight"] = (heads * (head_dim + self.rope_dim), self.query_rank or hidden)
        shapes["kv_down.weight"] = (self.token_width, hidden)
        shapes["kv_norm.weight"] = (self.kv_rank,)
        shapes["k_up.weight"] = (heads * head_dim, self.kv_rank)
        shapes["v_up.weight"] = (heads * self.value_dim, self.kv_rank)
        shapes["o.weight"] = (hidden, heads * self.value_dim)
        return shapes
