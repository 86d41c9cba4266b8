"""The plain decoder with experts, latents and sinks against transformers, which none of us wrote."""

from dataclasses import replace

import numpy as np
import pytest

from controller.models.catalog import load_model
from controller.models.reference import generate_reference
from controller.models.weights import SeededWeights

MIXTRAL, DEEPSEEK, OSS = map(load_model, ("tiny-mixtral", "tiny-deepseek", "tiny-gpt-oss"))
QWEN = replace(MIXTRAL, name="tiny-qwen3-moe", family="qwen3_moe", qk_norm=True)
V2 = replace(
    DEEPSEEK, name="tiny-deepseek-v2",
    latent=replace(DEEPSEEK.latent, query_rank=0),
    experts=replace(DEEPSEEK.experts, score="softmax", normalise=False, scale=16.0, group_top=1, choice_bias=False),
)  # fmt: skip
ROPE = {"rope_type": "default", "rope_theta": 10_000.0}
CLASSES = {
    "tiny-mixtral": "MixtralForCausalLM", "tiny-qwen3-moe": "Qwen3MoeForCausalLM", "tiny-gpt-oss": "GptOssForCausalLM",
    "tiny-deepseek": "DeepseekV3ForCausalLM", "tiny-deepseek-v2": "DeepseekV2ForCausalLM",
}  # fmt: skip


def config_of(shape):
    e, latent = shape.experts, shape.latent
    keys = {
        "vocab_size": shape.vocab, "hidden_size": shape.hidden, "num_hidden_layers": shape.layers,
        "num_attention_heads": shape.heads, "num_key_value_heads": shape.kv_heads, "num_experts_per_tok": e.chosen,
        "intermediate_size": shape.intermediate, "max_position_embeddings": shape.max_positions,
        "rms_norm_eps": shape.norm_eps, "rope_parameters": ROPE, "tie_word_embeddings": False, "pad_token_id": None,
    }  # fmt: skip
    if latent is None:
        sliding = [("full" if shape.is_global(layer) else "sliding") + "_attention" for layer in range(shape.layers)]
        return keys | {
            "head_dim": shape.head_dim, "num_local_experts": e.count, "num_experts": e.count, "norm_topk_prob": True,
            "moe_intermediate_size": e.intermediate, "sliding_window": shape.sliding_window or None,
            **({"layer_types": sliding} if shape.sliding_window else {}),
        }  # fmt: skip
    return keys | {
        "n_routed_experts": e.count, "moe_intermediate_size": e.intermediate, "n_shared_experts": 1,
        "n_group": e.groups, "topk_group": e.kept_groups, "first_k_dense_replace": e.first_dense,
        "routed_scaling_factor": e.scale,
        "q_lora_rank": latent.query_rank or None, "kv_lora_rank": latent.kv_rank, "v_head_dim": latent.value_dim,
        "qk_rope_head_dim": latent.rope_dim, "qk_nope_head_dim": shape.head_dim, "norm_topk_prob": e.normalise,
        "topk_method": "group_limited_greedy",
    }  # fmt: skip


def interleaved(rows):
    """Rows of a rotated part (heads, p, n), whose halves turn together, with neighbours that do."""
    first, second = np.split(rows, 2, axis=1)
    return np.stack([first, second], axis=2).reshape(rows.shape)


def latent_state(shape, at, tensor):
    """Matrices by head: of q what does not rotate beside what does, of the latents keys beside values."""
    latent, nope = shape.latent, shape.heads * shape.head_dim
    q, down = tensor(f"{at}.q.weight"), tensor(f"{at}.kv_down.weight")
    still, turned = (part.reshape(shape.heads, -1, q.shape[1]) for part in (q[:nope], q[nope:]))
    k, v = (tensor(f"{at}.{name}.weight").reshape(shape.heads, -1, latent.kv_rank) for name in ("k_up", "v_up"))
    rope = interleaved(down[None, latent.kv_rank :])[0]
    names = {
        "kv_a_proj_with_mqa.weight": np.concatenate([down[: latent.kv_rank], rope]),
        "kv_a_layernorm.weight": tensor(f"{at}.kv_norm.weight"),
        "kv_b_proj.weight": np.concatenate([k, v], 1).reshape(-1, latent.kv_rank),
        "q_b_proj.weight" if latent.query_rank else "q_proj.weight": np.concatenate(
            [still, interleaved(turned)], 1
        ).reshape(q.shape),
    }
    if latent.query_rank:
        names["q_a_proj.weight"] = tensor(f"{at}.q_down.weight")
        names["q_a_layernorm.weight"] = tensor(f"{at}.q_down_norm.weight")
    return names


def head_state(shape, at, tensor):
    names = {}
    for part in "qkv":
        names[f"{part}_proj.weight"] = tensor(f"{at}.{part}.weight")
        if shape.qkv_bias:
            names[f"{part}_proj.bias"] = tensor(f"{at}.{part}.bias")
    if shape.qk_norm:
        names |= {f"{part}_norm.weight": tensor(f"{at}.{part}_norm.weight") for part in "qk"}
    if shape.sinks:
        names["sinks"] = tensor(f"{at}.sinks.weight")
        names["o_proj.bias"] = tensor(f"{at}.o.bias")
    return names


def expert_state(shape, at, tensor):
    e = shape.experts
    gate, up, down = (tensor(f"{at}.expert_{name}.weight") for name in ("gate", "up", "down"))
    if e.clamped:
        bias = [tensor(f"{at}.expert_{name}.bias") for name in ("gate", "up", "down")]
        return {
            "router.weight": tensor(f"{at}.router.weight"), "router.bias": tensor(f"{at}.router.bias"),
            "experts.gate_up_proj": np.stack([gate, up], 2).reshape(e.count, -1, shape.hidden).swapaxes(1, 2),
            "experts.gate_up_proj_bias": np.stack(bias[:2], 2).reshape(e.count, -1),
            "experts.down_proj": down.swapaxes(1, 2), "experts.down_proj_bias": bias[2],
        }  # fmt: skip
    names = {
        "gate.weight": tensor(f"{at}.router.weight"), "experts.gate_up_proj": np.concatenate([gate, up], 1),
        "experts.down_proj": down,
    }  # fmt: skip
    if e.choice_bias:
        names["gate.e_score_correction_bias"] = tensor(f"{at}.router_choice.bias")
    if e.shared_intermediate:
        parts = ("gate", "up", "down")
        names |= {f"shared_experts.{part}_proj.weight": tensor(f"{at}.shared_{part}.weight") for part in parts}
    return names


def state_of(weights):
    shape, tensor = weights.shape, weights.tensor
    state = {"model.embed_tokens.weight": tensor("embed"), "lm_head.weight": tensor("head")}
    state["model.norm.weight"] = tensor("final_norm.weight")
    for layer in range(shape.layers):
        at, theirs = f"layers.{layer}", f"model.layers.{layer}"
        state[f"{theirs}.input_layernorm.weight"] = tensor(f"{at}.attn_norm.weight")
        state[f"{theirs}.post_attention_layernorm.weight"] = tensor(f"{at}.ffn_norm.weight")
        attention = (head_state if shape.latent is None else latent_state)(shape, at, tensor)
        attention["o_proj.weight"] = tensor(f"{at}.o.weight")
        if shape.experts.of_layer(layer):
            inner = expert_state(shape, at, tensor)
        else:
            inner = {f"{part}_proj.weight": tensor(f"{at}.{part}.weight") for part in ("gate", "up", "down")}
        state |= {f"{theirs}.self_attn.{name}": values for name, values in attention.items()}
        state |= {f"{theirs}.mlp.{name}": values for name, values in inner.items()}
    return state


@pytest.mark.models
@pytest.mark.parametrize("shape", [MIXTRAL, QWEN, DEEPSEEK, V2, OSS], ids=lambda shape: shape.name)
def test_the_plain_decoder_gives_the_logits_of_transformers(shape):
    transformers, torch = pytest.importorskip("transformers"), pytest.importorskip("torch")
    weights = SeededWeights(shape, seed=1)
    made = getattr(transformers, CLASSES[shape.name])
    config = made.config_class(**config_of(shape), attn_implementation="eager")
    model = made(config).float().eval()
    state = {name: torch.tensor(np.ascontiguousarray(values)) for name, values in state_of(weights).items()}
    model.load_state_dict(state, strict=True)
    prompt = np.random.default_rng(0).integers(0, shape.vocab, (3, 11))
    ours = generate_reference(weights, prompt, 8, ())
    text = np.concatenate([prompt, np.array(ours.tokens)], axis=1)
    with torch.no_grad():
        theirs = model(torch.from_numpy(text)).logits.numpy()
    np.testing.assert_allclose(ours.logits.swapaxes(0, 1), theirs[:, 10:-1], atol=2e-4)
