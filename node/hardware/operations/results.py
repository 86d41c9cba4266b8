"""Shapes and types of what an operation makes, so that who launches it need not repeat them.

Operations that write into a buffer of the caller's choice (``kv_write``, the optimizers) and those whose caller decides
the parts (``split``) make nothing that could be derived; they are absent.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

from node.errors import ShapeMismatch
from node.hardware.operation import Attributes, TensorType
from node.hardware.packed import PACKED, rounded_bytes

Types = Sequence[TensorType]
Results = tuple[TensorType, ...]


def _like_first(inputs: Types, _: Attributes) -> Results:
    return (inputs[0],)


def _linear(inputs: Types, _: Attributes) -> Results:
    x, w = inputs[0], inputs[1]
    return (TensorType((*x.shape[:-1], w.shape[0]), x.dtype),)


def _round_rows(inputs: Types, attributes: Attributes) -> Results:
    x = inputs[0]
    nbytes = rounded_bytes(x.shape[-1], attributes.get("scales") == "block")
    return (TensorType((*x.shape[:-1], nbytes), PACKED),)


def _packed_linear(inputs: Types, attributes: Attributes) -> Results:
    return (TensorType((*inputs[0].shape[:-1], inputs[1].shape[0]), str(attributes["result"])),)


def _packed_grouped(inputs: Types, attributes: Attributes) -> Results:
    return (TensorType((inputs[0].shape[0], inputs[1].shape[1]), str(attributes["result"])),)


def _matmul(inputs: Types, _: Attributes) -> Results:
    return (TensorType((inputs[0].shape[0], inputs[1].shape[1]), inputs[0].dtype),)


def _embedding(inputs: Types, _: Attributes) -> Results:
    table, ids = inputs[0], inputs[1]
    return (TensorType((*ids.shape, table.shape[1]), table.dtype),)


def _decode_attention(inputs: Types, _: Attributes) -> Results:
    return (inputs[0], TensorType(inputs[0].shape[:-1], "fp32"))


def _concat(inputs: Types, _: Attributes) -> Results:
    x = inputs[0]
    return (TensorType((*x.shape[:-1], sum(each.shape[-1] for each in inputs)), x.dtype),)


def _to_heads(inputs: Types, attributes: Attributes) -> Results:
    (batch, tokens, width), heads = inputs[0].shape, attributes["heads"]
    assert isinstance(heads, int)
    return (TensorType((batch, heads, tokens, width // heads), inputs[0].dtype),)


def _from_heads(inputs: Types, _: Attributes) -> Results:
    batch, heads, tokens, dim = inputs[0].shape
    return (TensorType((batch, tokens, heads * dim), inputs[0].dtype),)


def _swap_axes(inputs: Types, _: Attributes) -> Results:
    first, second, *rest = inputs[0].shape
    return (TensorType((second, first, *rest), inputs[0].dtype),)


def _take_rows(inputs: Types, _: Attributes) -> Results:
    batch, _tokens, width = inputs[0].shape
    return (TensorType((batch, width), inputs[0].dtype),)


def _linear_input_backward(inputs: Types, _: Attributes) -> Results:
    gradient, w = inputs[0], inputs[1]
    return (TensorType((*gradient.shape[:-1], w.shape[1]), gradient.dtype),)


def _layer_norm_backward(inputs: Types, _: Attributes) -> Results:
    return (inputs[0], inputs[1], inputs[1])


def _rms_norm_backward(inputs: Types, _: Attributes) -> Results:
    return (inputs[0], inputs[1])


def _gated_activation_backward(inputs: Types, _: Attributes) -> Results:
    return (inputs[0], inputs[1])


def _flash_attention(inputs: Types, attributes: Attributes) -> Results:
    (batch, tokens, width), heads, kv_heads = inputs[0].shape, attributes["heads"], attributes["kv_heads"]
    assert isinstance(heads, int) and isinstance(kv_heads, int)
    dim = width // (heads + 2 * kv_heads)
    return (TensorType((batch, tokens, heads * dim), inputs[0].dtype), TensorType((batch, heads, tokens), "fp32"))


def _argmax(inputs: Types, _: Attributes) -> Results:
    return (TensorType(inputs[0].shape[:-1], "int64"),)


def _expert_gate(inputs: Types, attributes: Attributes) -> Results:
    (tokens, _), k = inputs[0].shape, attributes["k"]
    assert isinstance(k, int)
    return (TensorType((tokens, k), "fp32"), TensorType((tokens, k), "int64"))


def _expert_rows(inputs: Types, attributes: Attributes) -> Results:
    x, (tokens, k), count = inputs[0], inputs[1].shape, attributes["count"]
    assert isinstance(count, int)
    rows = TensorType((tokens * k, x.shape[1]), x.dtype)
    return (rows, TensorType((tokens * k,), "int64"), TensorType((count,), "int64"), *inputs[2:3])


def _expert_counts(_: Types, attributes: Attributes) -> Results:
    count = attributes["count"]
    assert isinstance(count, int)
    return (TensorType((count,), "int64"),)


def _quantise_message(inputs: Types, attributes: Attributes) -> Results:
    (tokens, width), tail = inputs[0].shape, attributes.get("tail", 512)
    assert isinstance(tail, int)
    return (TensorType((tokens, width + tail), "int8"),)


def _grouped_linear(inputs: Types, _: Attributes) -> Results:
    return (TensorType((inputs[0].shape[0], inputs[1].shape[1]), inputs[0].dtype),)


def _expert_sum(inputs: Types, _: Attributes) -> Results:
    return (TensorType((inputs[2].shape[0], inputs[0].shape[1]), inputs[0].dtype),)


def _head_linear(inputs: Types, attributes: Attributes) -> Results:
    x, w = inputs[0], inputs[1]
    return (TensorType((*x.shape[:2], w.shape[2 if attributes.get("turned") else 1]), x.dtype),)


def _latent_prefill(inputs: Types, _: Attributes) -> Results:
    return (TensorType((*inputs[0].shape[:2], inputs[4].shape[2]), inputs[4].dtype),)


RESULTS: Mapping[str, Callable[[Types, Attributes], Results]] = MappingProxyType(
    {
        **dict.fromkeys(
            ("layer_norm", "rms_norm", "softmax", "add", "copy", "activation", "gated_activation", "rotary"),
            _like_first,
        ),
        "prefill_attention": _like_first,
        "merge_attention": _like_first,
        "merge_new_token": _like_first,
        "linear": _linear,
        "matmul": _matmul,
        "embedding": _embedding,
        "decode_attention": _decode_attention,
        "concat": _concat,
        "to_heads": _to_heads,
        "from_heads": _from_heads,
        "swap_axes": _swap_axes,
        "take_rows": _take_rows,
        "argmax": _argmax,
        "linear_input_backward": _linear_input_backward,
        "layer_norm_backward": _layer_norm_backward,
        "rms_norm_backward": _rms_norm_backward,
        "gated_activation_backward": _gated_activation_backward,
        "flash_attention": _flash_attention,
        "expert_gate": _expert_gate,
        "expert_rows": _expert_rows,
        "grouped_linear": _grouped_linear,
        "clamped_swiglu": _like_first,
        "gate_rows": _like_first,
        "round_rows": _round_rows,
        "packed_linear": _packed_linear,
        "packed_grouped_linear": _packed_grouped,
        "expert_sum": _expert_sum,
        "expert_slots": _like_first,
        "expert_counts": _expert_counts,
        "quantise_message": _quantise_message,
        "head_linear": _head_linear,
        "latent_prefill_attention": _latent_prefill,
        "latent_decode_attention": _decode_attention,
        **dict.fromkeys(("activation_backward", "flash_attention_backward", "rotary_qkv"), _like_first),
    }
)
"""By name of the operation; every result passes the operation's own check when the operands do."""


def result_types(operation: str, inputs: Types, attributes: Attributes) -> Results:
    """What a launch makes.

    Raises:
        ShapeMismatch: operands of which no result can be derived.
    """
    try:
        return RESULTS[operation](inputs, attributes)
    except (IndexError, ValueError, KeyError, ZeroDivisionError):
        shapes = ", ".join(str(each.shape) for each in inputs) or "none"
        raise ShapeMismatch(f"{operation}: no result follows from operands of shapes {shapes}") from None
