"""Sizes and work of activations, by hand for GPT-13B: h = 5120, 40 heads of 128, feed-forward 4h."""

from dataclasses import replace

import pytest

from controller.errors import BadWorkload
from controller.models.catalog import load_model
from controller.models.training.activations import (
    activation_kinds,
    all_activation_bytes,
    kind_flop,
    layer_backward_flop,
    layer_forward_flop,
    lse_bytes,
    recompute_flop,
)

GPT = load_model("gpt-13b")
H, BATCH, SEQ = 5120, 32, 1024
TOKENS = BATCH * SEQ
MATRIX = 2 * TOKENS * H * H
"""Work of a product with an h x h matrix [FLOP]."""
PAIRS = SEQ * (SEQ + 1) / 2
ATTENTION = 4 * BATCH * PAIRS * H


def about(value):
    """Norms, biases and activations add less than a percent to the products."""
    return pytest.approx(value, rel=0.01)


def test_all_activations_are_34_bytes_a_unit_of_hidden_in_half_precision():
    # 213 GB for 40 layers of 13B at batch 32 and sequence 1024, 12.5 GB between the blocks, if GB means GiB (table II
    # and section IV of the Ratel paper).
    assert all_activation_bytes(GPT, 1, "fp16") == 34 * H
    assert 40 * all_activation_bytes(GPT, TOKENS, "fp16") / 2**30 == pytest.approx(213, rel=0.005)
    assert 40 * activation_kinds(GPT)["x"].nbytes(TOKENS, "fp16") / 2**30 == pytest.approx(12.5, rel=0.005)
    assert lse_bytes(GPT, BATCH, SEQ) == 4 * 40 * TOKENS


def test_kinds_in_forward_order_with_their_columns():
    kinds = activation_kinds(GPT)
    assert {name: kind.columns / H for name, kind in kinds.items()} == {
        "x": 1, "attn_norm": 1, "qkv": 3, "attention": 1, "mid": 1, "ffn_norm": 1, "up": 4, "act": 4, "ffn_down": 1,
    }  # fmt: skip
    assert list(kinds) == ["x", "attn_norm", "qkv", "attention", "mid", "ffn_norm", "up", "act", "ffn_down"]
    llama = load_model("llama3-70b")
    kinds = activation_kinds(llama)
    assert kinds["qkv"].columns == 8192 + 2 * 1024 and kinds["gate"].columns == kinds["up"].columns == 28_672


@pytest.mark.parametrize(
    ("name", "flop"),
    [
        ("qkv", 3 * MATRIX),
        ("attention", ATTENTION),
        ("mid", MATRIX),
        ("up", 4 * MATRIX),
        ("ffn_down", 4 * MATRIX),
        ("x", 0),
    ],
)
def test_work_of_a_kind(name, flop):
    assert kind_flop(GPT, name, BATCH, SEQ) == about(flop)


def test_kinds_add_up_to_the_layer():
    total = sum(kind_flop(GPT, name, BATCH, SEQ) for name in activation_kinds(GPT))
    # The last addition makes the input of the next layer.
    assert layer_forward_flop(GPT, BATCH, SEQ) == total + TOKENS * H == about(12 * MATRIX + ATTENTION)
    assert layer_backward_flop(GPT, BATCH, SEQ) == about(24 * MATRIX + 2.5 * ATTENTION)


@pytest.mark.parametrize(
    ("saved", "whole_block", "flop"),
    [
        ((), False, 8 * MATRIX + ATTENTION),
        ((), True, 12 * MATRIX + ATTENTION),
        (("ffn_down",), True, 8 * MATRIX + ATTENTION),
        (("ffn_down",), False, 8 * MATRIX + ATTENTION),
        (("ffn_down", "mid"), True, 7 * MATRIX + ATTENTION),
        (("qkv",), False, 5 * MATRIX + ATTENTION),
        (("qkv", "attention", "lse"), False, 5 * MATRIX),
        (("qkv", "attention", "lse", "mid"), False, 4 * MATRIX),
        (("up",), False, 4 * MATRIX + ATTENTION),
    ],
)
def test_work_that_saving_leaves(saved, whole_block, flop):
    assert recompute_flop(GPT, saved, BATCH, SEQ, whole_block=whole_block) == pytest.approx(flop, rel=0.015)


def test_saving_more_never_costs_work():
    sets = [(), ("qkv",), ("qkv", "mid"), ("qkv", "mid", "attention", "lse"), ("qkv", "mid", "attention", "lse", "up")]
    work = [recompute_flop(GPT, saved, BATCH, SEQ) for saved in sets]
    assert work == sorted(work, reverse=True) and len(set(work)) == len(work)


def test_unknown_kinds_are_refused():
    with pytest.raises(BadWorkload, match="has no activation 'gate'"):
        recompute_flop(GPT, ("gate",), 1, 8)
    assert recompute_flop(replace(load_model("llama-2-7b")), ("gate",), 1, 8) > 0
