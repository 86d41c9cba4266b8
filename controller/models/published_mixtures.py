"""Shapes of published mixtures of experts and models with latent attention, and tiny ones of each kind for fast tests.

Scaled rotations (YaRN) are left out: neither times nor sizes depend on them.
Weights that are published in fewer bits (DeepSeek-V3 in fp8, the experts of GPT-OSS in mxfp4) are given in bf16.
"""

from __future__ import annotations

from controller.models.expert_shape import ExpertShape
from controller.models.latent_shape import LatentShape
from controller.models.shape import ModelShape

_OWN = "made for tests; the layers of {} at toy size, weights from a seed"


def _mixture(
    name: str, family: str, layers: int, hidden: int, heads: int, kv_heads: int, experts: ExpertShape, source: str, *,
    intermediate: int, vocab: int, positions: int, head_dim: int = 128, eps: float = 1e-6, theta: float = 10_000.0,
    dtype: str = "bf16", qk_norm: bool = False, biases: bool = False, sinks: bool = False, window: int = 0,
    slides: tuple[bool, ...] = (), latent: LatentShape | None = None, bos: int | None = None, eos: tuple[int, ...] = (),
) -> ModelShape:  # fmt: skip
    width = head_dim + (latent.rope_dim if latent else 0)
    return ModelShape(
        name=name, family=family, hidden=hidden, layers=layers, heads=heads, kv_heads=kv_heads, head_dim=head_dim,
        intermediate=intermediate, vocab=vocab, max_positions=positions, dtype=dtype, tie_word_embeddings=False,
        norm="rms", norm_eps=eps, activation="silu", gated=True, qkv_bias=biases, output_bias=biases, ffn_bias=False,
        positions="rotary", rope_theta=theta, qk_norm=qk_norm, attention_scale=width**-0.5, sinks=sinks,
        sliding_window=window, sliding_layers=slides, latent=latent, experts=experts, bos_token=bos, eos_tokens=eos,
        source=source,
    )  # fmt: skip


def _alternating(layers: int) -> tuple[bool, ...]:
    """The first layer slides, the second does not, and so on."""
    return tuple(layer % 2 == 0 for layer in range(layers))


def _gpt_oss_experts(count: int, chosen: int, intermediate: int) -> ExpertShape:
    return ExpertShape(count, chosen, intermediate, score="chosen_softmax", router_bias=True, bias=True, clamped=True)


def _deepseek_v2(
    name: str, layers: int, hidden: int, heads: int, intermediate: int, experts: ExpertShape, query_rank: int
) -> ModelShape:  # fmt: skip
    return _mixture(
        name, "deepseek", layers, hidden, heads, heads, experts,
        "DeepSeek-AI 2024, arXiv 2405.04434, section 3.1.2 and appendix B; deepseek-ai config.json",
        intermediate=intermediate, vocab=102_400, positions=163_840, bos=100_000, eos=(100_001,),
        latent=LatentShape(kv_rank=512, rope_dim=64, value_dim=128, query_rank=query_rank),
    )  # fmt: skip


MIXTURES = (
    _mixture(
        "tiny-mixtral", "mixtral", 2, 64, 4, 2, ExpertShape(4, 2, 96, normalise=True), _OWN.format("Mixtral"),
        intermediate=96, vocab=384, positions=512, head_dim=16, eps=1e-5, dtype="fp32",
    ),
    _mixture(
        "tiny-deepseek", "deepseek", 3, 64, 4, 4,
        ExpertShape(
            8, 3, 40, shared_intermediate=40, first_dense=1, score="sigmoid", normalise=True, scale=2.5, groups=4,
            kept_groups=2, group_top=2, choice_bias=True,
        ),
        _OWN.format("DeepSeek-V3"), intermediate=96, vocab=384, positions=512, head_dim=16, dtype="fp32",
        latent=LatentShape(kv_rank=24, rope_dim=8, value_dim=12, query_rank=20),
    ),
    _mixture(
        "tiny-gpt-oss", "gpt_oss", 2, 64, 4, 2, _gpt_oss_experts(6, 2, 40), _OWN.format("GPT-OSS"),
        intermediate=40, vocab=384, positions=512, head_dim=16, eps=1e-5, dtype="fp32", biases=True, sinks=True,
        window=8, slides=_alternating(2),
    ),
    _mixture(
        "mixtral-8x7b", "mixtral", 32, 4_096, 32, 8, ExpertShape(8, 2, 14_336, normalise=True),
        "Jiang et al. 2024, arXiv 2401.04088, table 1; mistralai/Mixtral-8x7B-v0.1 config.json",
        intermediate=14_336, vocab=32_000, positions=32_768, eps=1e-5, theta=1_000_000.0, bos=1, eos=(2,),
    ),
    _mixture(
        "qwen3-30b-a3b", "qwen3_moe", 48, 2_048, 32, 4, ExpertShape(128, 8, 768, normalise=True),
        "Qwen team 2025, arXiv 2505.09388, table 2; Qwen/Qwen3-30B-A3B config.json",
        intermediate=6_144, vocab=151_936, positions=40_960, theta=1_000_000.0, qk_norm=True, eos=(151_645,),
    ),
    _deepseek_v2(
        "deepseek-v2-lite", 27, 2_048, 16, 10_944, ExpertShape(64, 6, 1_408, shared_intermediate=2_816, first_dense=1),
        query_rank=0,
    ),
    _deepseek_v2(
        "deepseek-v2", 60, 5_120, 128, 12_288,
        ExpertShape(
            160, 6, 1_536, shared_intermediate=3_072, first_dense=1, scale=16.0, groups=8, kept_groups=3
        ),
        query_rank=1_536,
    ),
    *(_mixture(
        name, "deepseek", 61, 7_168, 128, 128,
        ExpertShape(
            256, 8, 2_048, shared_intermediate=2_048, first_dense=3, score="sigmoid", normalise=True, scale=2.5,
            groups=8, kept_groups=4, group_top=2, choice_bias=True,
        ),
        source,
        intermediate=18_432, vocab=129_280, positions=163_840, bos=0, eos=(1,),
        latent=LatentShape(kv_rank=512, rope_dim=64, value_dim=128, query_rank=1_536),
    )
        for name, source in (
            ("deepseek-v3", "DeepSeek-AI 2024, arXiv 2412.19437, section 4.2; deepseek-ai/DeepSeek-V3 config.json, "
             "without its MTP layer"),
            ("deepseek-r1", "DeepSeek-AI 2025, arXiv 2501.12948: DeepSeek-V3 trained further; without its MTP layer"),
        )
    ),
    *(
        _mixture(
            name, "gpt_oss", layers, 2_880, 64, 8, _gpt_oss_experts(count, 4, 2_880),
            "OpenAI 2025, arXiv 2508.10925, section 2; openai/" + name + " config.json",
            intermediate=2_880, vocab=201_088, positions=131_072, head_dim=64, eps=1e-5, theta=150_000.0, biases=True,
            sinks=True, window=128, slides=_alternating(layers), eos=(200_002,),
        )
        for name, layers, count in (("gpt-oss-20b", 24, 32), ("gpt-oss-120b", 36, 128))
    ),
)  # fmt: skip
"""In the order of the catalog."""
