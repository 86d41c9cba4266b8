"""Checkpoints that transformers writes are read under our names, and give the logits that transformers gives."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from controller.errors import PreflightFailed, UnknownModel
from controller.models.catalog import load_model
from controller.models.checkpoint_weights import CheckpointWeights
from controller.models.mxfp4 import values_of_blocks
from controller.models.plain import PlainDecoder
from controller.models.safetensors_file import SafetensorsFolder
from controller.models.weights import SeededWeights, open_weights

SMALL = {
    "hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": 199,
    "intermediate_size": 96, "max_position_embeddings": 128, "head_dim": 16, "rms_norm_eps": 1e-6,
    "tie_word_embeddings": False, "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": None,
}  # fmt: skip
MIXTURE = {"num_experts_per_tok": 2, "moe_intermediate_size": 32}
ROUTED = {"n_routed_experts": 8, "n_shared_experts": 1, "n_group": 2, "topk_group": 1, "first_k_dense_replace": 1,
          "kv_lora_rank": 32, "qk_rope_head_dim": 8, "qk_nope_head_dim": 16, "v_head_dim": 16, "num_key_value_heads": 4,
          "routed_scaling_factor": 2.5}  # fmt: skip
WITHOUT_HEAD = {key: value for key, value in SMALL.items() if key != "head_dim"}
MODELS = {
    "LlamaForCausalLM": SMALL,
    "Qwen3ForCausalLM": SMALL,
    "MixtralForCausalLM": SMALL | {"num_local_experts": 4, "num_experts_per_tok": 2, "sliding_window": None},
    "Qwen3MoeForCausalLM": SMALL | MIXTURE | {"num_experts": 4, "norm_topk_prob": True},
    "DeepseekV2ForCausalLM": WITHOUT_HEAD | MIXTURE | ROUTED
    | {"q_lora_rank": None, "topk_method": "group_limited_greedy"},
    "DeepseekV3ForCausalLM": WITHOUT_HEAD | MIXTURE | ROUTED | {"q_lora_rank": 48, "norm_topk_prob": True},
    "GptOssForCausalLM": SMALL | {"num_local_experts": 4, "num_experts_per_tok": 2, "sliding_window": 6},
}  # fmt: skip


@pytest.fixture
def saved(tmp_path):
    """(folder, model): a random model of a class of transformers, as `save_pretrained` leaves it."""
    transformers, torch = pytest.importorskip("transformers"), pytest.importorskip("torch")

    def make(name: str):
        made = getattr(transformers, name)
        torch.manual_seed(3)
        plain = {"rope_parameters": {"rope_type": "default", "rope_theta": 10_000.0}}
        model = made(made.config_class(**MODELS[name], **plain, attn_implementation="eager")).float().eval()
        with torch.no_grad():
            for values in model.parameters():
                # Larger than at the start of training, so that a wrong expert or head would be seen.
                values.copy_(torch.randn_like(values) * values.shape[-1] ** -0.5 if values.ndim > 1 else
                             1 + 0.1 * torch.randn_like(values))  # fmt: skip
            for key, values in model.named_buffers():
                if "correction_bias" in key:
                    values.copy_(0.1 * torch.randn_like(values))
        model.save_pretrained(tmp_path)
        return tmp_path, model

    return make


@pytest.mark.models
@pytest.mark.parametrize("name", MODELS)
def test_a_checkpoint_gives_the_logits_of_transformers(saved, name):
    folder, model = saved(name)
    import torch

    shape = load_model(str(folder))
    weights = open_weights(shape, model=str(folder))
    assert isinstance(weights, CheckpointWeights)
    ids = np.random.default_rng(0).integers(0, shape.vocab, (2, 13))
    with torch.no_grad():
        theirs = model(torch.from_numpy(ids)).logits[:, -1].numpy()
    # Both compute in fp32 and add in another order: 64 products of about 1 to a logit, 2 layers.
    np.testing.assert_allclose(PlainDecoder(weights).logits(ids), theirs, atol=2e-4, rtol=1e-4)


@pytest.mark.models
def test_shards_in_half_precision_are_read(saved):
    folder, model = saved("Qwen3MoeForCausalLM")
    model.bfloat16().save_pretrained(folder, max_shard_size="100KB")
    (folder / "model.safetensors").unlink(missing_ok=True)
    assert len(list(folder.glob("*.safetensors"))) > 1
    weights = CheckpointWeights(load_model(str(folder)), folder)
    found = weights.tensor("layers.1.q.weight")
    assert (found == model.state_dict()["model.layers.1.self_attn.q_proj.weight"].float().numpy()).all()


def test_a_configuration_alone_has_weights_of_a_seed(tmp_path):
    shape = load_model("tiny-mixtral")
    assert isinstance(open_weights(shape, model=str(tmp_path)), SeededWeights)
    with pytest.raises(PreflightFailed, match="for weights from a seed"):
        CheckpointWeights(shape, tmp_path)


def write(folder, tensors: dict[str, tuple[str, list[int], bytes]]) -> None:
    header, data = {}, b""
    for name, (kind, extents, raw) in tensors.items():
        header[name] = {"dtype": kind, "shape": extents, "data_offsets": [len(data), len(data) + len(raw)]}
        data += raw
    text = json.dumps(header).encode()
    (folder / "model.safetensors").write_bytes(len(text).to_bytes(8, "little") + text + data)


@pytest.mark.parametrize(
    ("tensor", "said"),
    [
        (("F8_E4M3", [4], b"1234"), "stored as F8_E4M3"),
        (("F32", [4], b"1234"), "are not bytes"),
        (("F32", [-1], b"1234"), "are not bytes"),
    ],
)
def test_a_tensor_that_cannot_be_read_is_named(tmp_path, tensor, said):
    write(tmp_path, {"lm_head.weight": tensor})
    with pytest.raises(PreflightFailed, match=said):
        SafetensorsFolder(tmp_path).read("lm_head.weight")


def test_a_file_that_ends_early_or_is_none_is_named(tmp_path):
    write(tmp_path, {"x": ("F32", [4], bytes(16))})
    whole = (tmp_path / "model.safetensors").read_bytes()
    (tmp_path / "model.safetensors").write_bytes(whole[:-4])
    with pytest.raises(PreflightFailed, match="the file ends before it"):
        SafetensorsFolder(tmp_path).read("x")
    (tmp_path / "model.safetensors").write_bytes(b"\xff" * 64)
    with pytest.raises(PreflightFailed, match="is no safetensors file"):
        SafetensorsFolder(tmp_path)


def test_a_checkpoint_of_another_shape_is_refused(tmp_path):
    shape = load_model("tiny-mixtral")
    write(tmp_path, {"model.embed_tokens.weight": ("F32", [2, 2], bytes(16))})
    with pytest.raises(PreflightFailed, match="take both files of one model"):
        CheckpointWeights(shape, tmp_path).tensor("embed")
    with pytest.raises(PreflightFailed, match=r"no tensor 'model\.norm\.weight'"):
        CheckpointWeights(shape, tmp_path).tensor("final_norm.weight")
    with pytest.raises(UnknownModel, match="checkpoints are known of"):
        CheckpointWeights(replace(shape, family="olmoe", experts=None), tmp_path)


def test_blocks_of_mxfp4_have_their_values_and_scales():
    blocks = np.zeros((1, 2, 16), np.uint8)
    blocks[0, 0, 0] = 0x1 | 0xF << 4  # 0.5, then -6
    blocks[0, 1, 15] = 0x7 << 4  # the last of the row: 6
    found = values_of_blocks(blocks, np.array([[127, 130]], np.uint8))
    assert found.shape == (1, 64)
    assert found[0, :2].tolist() == [0.5, -6.0] and found[0, 63] == 48.0 and not found[0, 2:63].any()
