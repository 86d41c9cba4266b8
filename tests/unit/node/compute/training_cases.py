"""Launches of the training operations for the conformance suite; gradients are those of torch autograd in float64."""

from __future__ import annotations

import numpy as np
import torch
from torch.nn import functional

FP, F32, I64 = "fp", "fp32", "int64"

ACTIVATIONS = {
    "relu": functional.relu,
    "gelu": functional.gelu,
    "gelu_tanh": lambda x: functional.gelu(x, approximate="tanh"),
    "silu": functional.silu,
}


def differentiated(function, arrays, dy):
    """Gradients of `function` of `arrays` for the gradient `dy` of its result."""
    tensors = [torch.tensor(array, dtype=torch.float64, requires_grad=True) for array in arrays]
    function(*tensors).backward(torch.tensor(dy))
    return tuple(tensor.grad.numpy() for tensor in tensors)


def added(gradients, sums):
    return tuple(g + s for g, s in zip(gradients, sums, strict=False)) if sums else gradients


def input_backward(dy, w, *sums):
    x = np.zeros((*dy.shape[:-1], w.shape[1]))
    return added(differentiated(lambda x, w: functional.linear(x, w), (x, w), dy)[:1], sums)


def weight_backward(x, dy, *sums):
    w, bias = np.zeros((dy.shape[-1], x.shape[-1])), np.zeros(dy.shape[-1])
    return added(differentiated(functional.linear, (x, w, bias), dy)[1:], sums)


def layer_norm_backward(x, w, dy, eps):
    return differentiated(lambda x, w, b: functional.layer_norm(x, w.shape, w, b, eps), (x, w, np.zeros_like(w)), dy)


def rms_norm_backward(x, w, dy, eps, offset=0.0):
    def norm(x, w):
        return x / (x.square().mean(-1, keepdim=True) + eps).sqrt() * (offset + w)

    return differentiated(norm, (x, w), dy)


def activation_backward(x, dy, kind):
    return differentiated(ACTIVATIONS[kind], (x,), dy)


def gated_backward(gate, up, dy, kind):
    return differentiated(lambda gate, up: ACTIVATIONS[kind](gate) * up, (gate, up), dy)


def attention(qkv, heads, kv_heads, scale, window=0):
    """Output (b, t, h*d) and log-sum-exp (b, h, t) in torch, by the definition."""
    batch, tokens, columns = qkv.shape
    dim = columns // (heads + 2 * kv_heads)
    q, k, v = qkv.view(batch, tokens, -1, dim).transpose(1, 2).split((heads, kv_heads, kv_heads), 1)
    k, v = (part.repeat_interleave(heads // kv_heads, 1) for part in (k, v))
    back = torch.arange(tokens)[:, None] - torch.arange(tokens)[None, :]
    seen = (back >= 0) & (back < (window or tokens))
    scores = (q @ k.transpose(2, 3) * scale).masked_fill(~seen, -torch.inf)
    out = (scores.softmax(-1) @ v).transpose(1, 2).reshape(batch, tokens, heads * dim)
    return out, scores.logsumexp(-1)


def attention_forward(qkv, **attributes):
    return tuple(value.numpy() for value in attention(torch.tensor(qkv), **attributes))


def attention_backward(qkv, out, lse, dout, heads, kv_heads, scale, window=0):
    """The formula of FlashAttention-2 (arXiv 2307.08691, algorithm 2) for whatever `out` and `lse` are given."""
    batch, tokens, columns = qkv.shape
    dim, per = columns // (heads + 2 * kv_heads), heads // kv_heads
    parts = qkv.reshape(batch, tokens, -1, dim)
    result = np.zeros_like(parts)
    for b, h, i in np.ndindex(batch, heads, tokens):
        key, value, row = heads + h // per, heads + kv_heads + h // per, slice(h * dim, (h + 1) * dim)
        delta = dout[b, i, row] @ out[b, i, row]
        for j in range(max(0, i + 1 - window) if window else 0, i + 1):
            weight = np.exp(scale * parts[b, i, h] @ parts[b, j, key] - lse[b, h, i])
            slope = weight * (dout[b, i, row] @ parts[b, j, value] - delta) * scale
            result[b, i, h] += slope * parts[b, j, key]
            result[b, j, key] += slope * parts[b, i, h]
            result[b, j, value] += weight * dout[b, i, row]
    return (result.reshape(qkv.shape),)


def rotary_qkv(qkv, heads, kv_heads, theta, factor=1.0, inverse=False):
    batch, tokens, columns = qkv.shape
    dim = columns // (heads + 2 * kv_heads)
    out = qkv.reshape(batch, tokens, -1, dim).copy()
    half = dim // 2
    for t, head, i in np.ndindex(tokens, heads + kv_heads, half):
        angle = t / factor * theta ** (-2 * i / dim) * (-1 if inverse else 1)
        a, b = out[:, t, head, i].copy(), out[:, t, head, i + half].copy()
        out[:, t, head, i] = a * np.cos(angle) - b * np.sin(angle)
        out[:, t, head, i + half] = b * np.cos(angle) + a * np.sin(angle)
    return (out.reshape(qkv.shape),)


def cross_entropy(logits, targets, *loss, scale, gradient_scale=1.0):
    x = torch.tensor(logits, requires_grad=True)
    value = functional.cross_entropy(x, torch.tensor(targets), reduction="sum") * scale
    value.backward()
    before = loss[0] if loss else np.zeros(1)
    return before + value.item(), x.grad.numpy() * gradient_scale


def embedding_backward(dy, ids, *sums, scale=1.0, rows=5):
    table = torch.zeros((rows, dy.shape[-1]), dtype=torch.float64, requires_grad=True)
    (functional.embedding(torch.tensor(ids), table) * scale).backward(torch.tensor(dy))
    return added((table.grad.numpy(),), sums)


def plain_adam(p, g, m, v, lr, step, beta1=0.9, beta2=0.999, eps=1e-8, weight_decay=0.0):
    m = beta1 * m + (1 - beta1) * g
    v = beta2 * v + (1 - beta2) * g * g
    rate = lr * (m / (1 - beta1**step)) / (np.sqrt(v / (1 - beta2**step)) + eps)
    return p * (1 - lr * weight_decay) - rate, m, v


def cases(case):
    """Operation to its launches; `case` is the class of the suite."""

    def same(*shapes):
        return tuple((shape, FP) for shape in shapes)

    heads = {"heads": 4, "kv_heads": 2, "scale": 0.5}
    return {
        "linear_input_backward": (
            case(same((2, 3, 5), (5, 8)), same((2, 3, 8)), input_backward),
            case(same((3, 5), (5, 8), (3, 8)), same((3, 8)), input_backward),
        ),
        "linear_weight_backward": (
            case(same((2, 3, 8), (2, 3, 5)), same((5, 8)), weight_backward),
            case(same((4, 8), (4, 5)), same((5, 8), (5,)), weight_backward),
            case(same((4, 8), (4, 5), (5, 8), (5,)), same((5, 8), (5,)), weight_backward),
            case(same((4, 8), (4, 5)), (((5, 8), F32), ((5,), F32)), weight_backward),
        ),
        "layer_norm_backward": (
            case(same((2, 3, 8), (8,), (2, 3, 8)), same((2, 3, 8), (8,), (8,)), layer_norm_backward, {"eps": 1e-5}),
        ),
        "rms_norm_backward": (
            case(same((4, 8), (8,), (4, 8)), same((4, 8), (8,)), rms_norm_backward, {"eps": 1e-6}),
            case(
                (((4, 8), FP), ((8,), F32), ((4, 8), FP)),
                (((4, 8), FP), ((8,), F32)),
                rms_norm_backward,
                {"eps": 1e-6, "offset": 1.0},
            ),
        ),
        "activation_backward": tuple(
            case(same((3, 7), (3, 7)), same((3, 7)), activation_backward, {"kind": kind}) for kind in ACTIVATIONS
        ),
        "gated_activation_backward": tuple(
            case(same(*[(3, 7)] * 3), same(*[(3, 7)] * 2), gated_backward, {"kind": kind}) for kind in ACTIVATIONS
        ),
        "rotary_qkv": (
            case(same((2, 3, 32)), same((2, 3, 32)), rotary_qkv, {"heads": 4, "kv_heads": 2, "theta": 1e4}),
            case(
                same((2, 3, 12)),
                same((2, 3, 12)),
                rotary_qkv,
                {"heads": 1, "kv_heads": 1, "theta": 100.0, "factor": 4.0, "inverse": True},
            ),
        ),
        "flash_attention": (
            case(same((2, 5, 32)), (((2, 5, 16), FP), ((2, 4, 5), F32)), attention_forward, heads),
            case(same((1, 6, 32)), (((1, 6, 16), FP), ((1, 4, 6), F32)), attention_forward, {**heads, "window": 2}),
        ),
        "flash_attention_backward": (
            case(
                (((2, 5, 32), FP), ((2, 5, 16), FP), ((2, 4, 5), "positive"), ((2, 5, 16), FP)),
                same((2, 5, 32)),
                attention_backward,
                heads,
            ),
            case(
                (((1, 6, 32), FP), ((1, 6, 16), FP), ((1, 4, 6), "positive"), ((1, 6, 16), FP)),
                same((1, 6, 32)),
                attention_backward,
                {**heads, "window": 3},
            ),
        ),
        "cross_entropy": (
            case((((3, 5), FP), ((3,), I64)), (((1,), F32), ((3, 5), FP)), cross_entropy, {"scale": 0.25}),
            case(
                (((3, 5), FP), ((3,), I64), ((1,), F32)),
                (((1,), F32), ((3, 5), FP)),
                cross_entropy,
                {"scale": 0.25, "gradient_scale": 8.0},
            ),
        ),
        "embedding_backward": (
            case((((2, 7, 3), FP), ((2, 7), I64)), same((5, 3)), embedding_backward),
            case((((7, 3), FP), ((7,), I64), ((5, 3), F32)), (((5, 3), F32),), embedding_backward, {"scale": 3.0}),
        ),
        "adam": (
            case(
                (((3, 4), F32), ((3, 4), FP), ((3, 4), F32), ((3, 4), "positive")),
                (((3, 4), F32),) * 3,
                plain_adam,
                {"lr": 0.01, "step": 3, "weight_decay": 0.1, "beta2": 0.95},
            ),
            case(
                (((3, 4), F32), ((3, 4), FP), ((3, 4), F32), ((3, 4), "positive")),
                (*(((3, 4), F32),) * 3, ((3, 4), FP)),
                lambda *states, **settings: (*plain_adam(*states, **settings), plain_adam(*states, **settings)[0]),
                {"lr": 0.01, "step": 3},
            ),
        ),
        "adam_pieces": (
            case(
                (
                    ((3,), F32),
                    ((3,), FP),
                    ((3,), F32),
                    ((3,), "positive"),
                    ((5,), F32),
                    ((5,), F32),
                    ((5,), F32),
                    ((5,), "positive"),
                ),
                (((3,), F32),) * 3 + (((5,), F32),) * 3,
                lambda *states, **settings: (
                    *plain_adam(*states[:4], **settings),
                    *plain_adam(*states[4:], **settings),
                ),
                {"lr": 0.01, "step": 3, "weight_decay": 0.1},
            ),
        ),
        "sum_rows": (case(same((3, 7)), same((7,)), lambda x: (x.sum(0),)),),
        "accumulate": (
            case(
                (((3, 7), F32), ((3, 7), FP)),
                (((3, 7), F32),),
                lambda total, x, factor: (total + factor * x,),
                {"factor": 0.5},
            ),
        ),
        "scale": (case(same((3, 7)), same((3, 7)), lambda x, factor: (x * factor,), {"factor": 0.5}),),
        "fill": (case((), same((3, 7)), lambda value: (np.full((3, 7), value),), {"value": 0.5}),),
    }
