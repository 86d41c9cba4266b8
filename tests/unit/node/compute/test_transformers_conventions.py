"""Kernels that models hang on give bit for bit what the modules of transformers give, in fp32 and in bf16."""

from __future__ import annotations

import pytest
import torch

from node.compute.kernels import run

pytest.importorskip("transformers")
from transformers.models.gemma3 import modeling_gemma3 as gemma

pytestmark = pytest.mark.models


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_rms_norm(dtype: torch.dtype):
    norm = gemma.Gemma3RMSNorm(64, 1e-6).to(dtype)
    norm.weight.data = torch.randn(64).to(dtype)
    x, out = torch.randn(3, 64).to(dtype), torch.zeros(3, 64, dtype=dtype)
    run("rms_norm", [x, norm.weight.data], [out], {"eps": 1e-6, "offset": 1.0})
    assert torch.equal(out, norm(x))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("kind", ["sliding_attention", "full_attention"])
def test_rotary(dtype: torch.dtype, kind: str):
    config = gemma.Gemma3TextConfig(head_dim=16, num_attention_heads=4, num_key_value_heads=2)
    theta = config.rope_parameters[kind]["rope_theta"]
    positions = torch.arange(700, 705)[None]
    x = torch.randn(2, 5, 4 * 16).to(dtype)
    cosine, sine = gemma.Gemma3RotaryEmbedding(config)(x, positions, kind)
    heads = x.view(2, 5, 4, 16).transpose(1, 2)
    expected = gemma.apply_rotary_pos_emb(heads, heads, cosine, sine)[0].transpose(1, 2).reshape(x.shape)
    out = torch.zeros_like(x)
    run("rotary", [x], [out], {"head_dim": 16, "position": 700, "theta": theta})
    assert torch.equal(out, expected)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_embedding(dtype: torch.dtype):
    table = gemma.Gemma3TextScaledWordEmbedding(50, 16, 0, 25.298221281347036).to(dtype)
    ids, out = torch.tensor([[3, 49, 0]]), torch.zeros(1, 3, 16, dtype=dtype)
    run("embedding", [table.weight.data, ids], [out], {"scale": 25.298221281347036})
    assert torch.equal(out, table(ids))


@pytest.mark.parametrize("window", [0, 3])
def test_attention(window: int):
    """The eager path of the model, with its additive mask."""
    q, k, v = torch.randn(1, 4, 7, 16), torch.randn(1, 2, 7, 16), torch.randn(1, 2, 7, 16)
    back = torch.arange(7)[:, None] - torch.arange(7)[None, :]
    hidden = (back < 0) | (back >= (window or 7))
    mask = torch.zeros(7, 7).masked_fill(hidden, -torch.inf)[None, None]
    module = torch.nn.Module()
    module.num_key_value_groups = 2
    expected = gemma.eager_attention_forward(module, q, k, v, mask, scaling=0.25)[0].transpose(1, 2)
    out = torch.zeros_like(q)
    run("prefill_attention", [q, k, v], [out], {"scale": 0.25, "window": window})
    assert torch.allclose(out, expected, rtol=1e-5, atol=1e-6)
