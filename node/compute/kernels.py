"""The table of kernels and the one way to run one."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from types import MappingProxyType

from torch import Tensor

from node.compute import (
    attention,
    elementwise,
    expert_parallel,
    experts,
    gradients,
    latent_attention,
    layout,
    linear,
    loss,
    new_token,
    norms,
    optimizer,
    packed,
    packed_attention,
    paged_attention,
    positions,
    quantisation,
    reduction,
    selection,
    sparse_attention,
)
from node.errors import ShapeMismatch
from node.hardware.operation import Attributes
from node.hardware.operations import CompleteAttributes, complete_attributes, operation

Kernel = Callable[[Sequence[Tensor], Sequence[Tensor], CompleteAttributes], None]


def _delay(_: Sequence[Tensor], __: Sequence[Tensor], ___: CompleteAttributes) -> None:
    """Computes nothing: pacing takes the time."""


KERNELS: Mapping[str, Kernel] = MappingProxyType(
    {
        "linear": linear.linear,
        "matmul": linear.matmul,
        "layer_norm": norms.layer_norm,
        "rms_norm": norms.rms_norm,
        "softmax": norms.softmax,
        "add": elementwise.add,
        "multiply": elementwise.multiply,
        "activation": elementwise.activation,
        "gated_activation": elementwise.gated_activation,
        "cast": elementwise.move,
        "copy": elementwise.move,
        "rotary": positions.rotary,
        "prefill_attention": attention.prefill_attention,
        "block_attention": attention.block_attention,
        "decode_attention": attention.decode_attention,
        "merge_attention": attention.merge_attention,
        "merge_new_token": new_token.merge_new_token,
        "sparf_attention": sparse_attention.sparf_attention,
        "running_mean": sparse_attention.running_mean,
        "channel_write": sparse_attention.channel_write,
        "split": layout.split,
        "concat": layout.concat,
        "to_heads": layout.to_heads,
        "from_heads": layout.from_heads,
        "swap_axes": layout.swap_axes,
        "take_rows": layout.take_rows,
        "kv_write": layout.kv_write,
        "kv_cast": layout.kv_cast,
        "embedding": selection.embedding,
        "gather": selection.gather,
        "top_k": selection.top_k,
        "argmax": selection.argmax,
        "reduce": reduction.reduce,
        "quantise": quantisation.quantise,
        "dequantise": quantisation.dequantise,
        "adam": optimizer.adam,
        "adam_pieces": optimizer.adam_pieces,
        "delay": _delay,
        "rotary_qkv": packed_attention.rotary_qkv,
        "flash_attention": packed_attention.flash_attention,
        "flash_attention_backward": packed_attention.flash_attention_backward,
        "paged_attention": paged_attention.paged_attention,
        "paged_write": paged_attention.paged_write,
        "linear_input_backward": gradients.linear_input_backward,
        "linear_weight_backward": gradients.linear_weight_backward,
        "layer_norm_backward": gradients.layer_norm_backward,
        "rms_norm_backward": gradients.rms_norm_backward,
        "activation_backward": gradients.activation_backward,
        "gated_activation_backward": gradients.gated_activation_backward,
        "cross_entropy": loss.cross_entropy,
        "embedding_backward": loss.embedding_backward,
        "sum_rows": gradients.sum_rows,
        "accumulate": gradients.accumulate,
        "scale": gradients.scale,
        "fill": gradients.fill,
        "expert_gate": experts.expert_gate,
        "expert_rows": experts.expert_rows,
        "grouped_linear": experts.grouped_linear,
        "clamped_swiglu": experts.clamped_swiglu,
        "gate_rows": experts.gate_rows,
        "round_rows": packed.round_rows,
        "packed_linear": packed.packed_linear,
        "packed_grouped_linear": packed.packed_grouped_linear,
        "expert_sum": experts.expert_sum,
        "expert_slots": expert_parallel.expert_slots,
        "expert_counts": expert_parallel.expert_counts,
        "expert_send": expert_parallel.expert_send,
        "expert_receive": expert_parallel.expert_receive,
        "expert_return": expert_parallel.expert_return,
        "expert_combine": expert_parallel.expert_combine,
        "quantise_message": expert_parallel.quantise_message,
        "dequantise_message": expert_parallel.dequantise_message,
        "head_linear": latent_attention.head_linear,
        "latent_prefill_attention": latent_attention.latent_prefill_attention,
        "latent_decode_attention": latent_attention.latent_decode_attention,
    }
)
"""Every operation of the table by name."""

# Kernels that read every element of an input before they write the same element of an output, by (input, output); an
# input may then be the output itself. All others are given a copy of what they would overwrite.
_ANY_INPUT = frozenset((index, 0) for index in range(64))
_NO_ORDER = frozenset((source, target) for source in range(64) for target in range(3))
_IN_PLACE: Mapping[str, frozenset[tuple[int, int]]] = {
    **dict.fromkeys(
        ("add", "multiply", "activation", "gated_activation", "copy", "layer_norm", "rms_norm", "softmax", "rotary"),
        _ANY_INPUT,
    ),
    **dict.fromkeys(("reduce", "merge_attention", "prefill_attention"), _ANY_INPUT),
    "adam": frozenset(((0, 0), (2, 1), (3, 2))),
    # These compute all of their results before they write the first.
    "clamped_swiglu": _ANY_INPUT,
    "gate_rows": _ANY_INPUT,
    **dict.fromkeys(("activation_backward", "sum_rows", "accumulate", "scale", "embedding_backward"), _ANY_INPUT),
    "rotary_qkv": _NO_ORDER,
    "layer_norm_backward": _NO_ORDER,
    "rms_norm_backward": _NO_ORDER,
    "gated_activation_backward": _NO_ORDER,
    "cross_entropy": frozenset(((0, 1), (2, 0))),
    "linear_input_backward": frozenset(((2, 0),)),
    "linear_weight_backward": frozenset(((2, 0), (3, 1))),
}
_NOWHERE: frozenset[tuple[int, int]] = frozenset()


def run(op: str, inputs: Sequence[Tensor], outputs: Sequence[Tensor], attributes: Attributes) -> None:
    """Computes `op` on `inputs` into `outputs`.

    Operands are contiguous and have passed the ``check`` of the operation. They may overlap: an output never holds
    anything but the result for the inputs as they were at the call.

    Args:
        op: name in the operation table.
        inputs: operands.
        outputs: preallocated results.
        attributes: with or without the defaults filled in.

    Raises:
        UnknownOperation: no such operation.
        BadAttribute: attributes that do not fit it.
        OutOfRange: an index operand that points outside of its table.
        ShapeMismatch: an extent of zero where the result is not defined.
    """
    complete = complete_attributes(operation(op), attributes)
    if outputs and not any(out.numel() for out in outputs):
        return
    try:
        KERNELS[op](_untangled(op, inputs, outputs), outputs, complete)
    except (RuntimeError, ArithmeticError, IndexError) as error:
        empty = [f"input {index} {tuple(x.shape)}" for index, x in enumerate(inputs) if not x.numel()]
        empty += [f"output {index} {tuple(x.shape)}" for index, x in enumerate(outputs) if not x.numel()]
        if not empty:
            raise
        raise ShapeMismatch(
            f"{op}: {', '.join(empty)} has an extent of 0, and nothing defines the result; give it 1 or more"
        ) from error


@lru_cache(maxsize=256)
def _pieces_in_place(inputs: int, outputs: int) -> frozenset[tuple[int, int]]:
    """As `_IN_PLACE` of ``adam``, for every piece of ``adam_pieces``."""
    each = 4 if outputs == inputs else 3
    pairs = _IN_PLACE["adam"]
    return frozenset((4 * piece + a, each * piece + b) for piece in range(inputs // 4) for a, b in pairs)


def _untangled(op: str, inputs: Sequence[Tensor], outputs: Sequence[Tensor]) -> Sequence[Tensor]:
    """`inputs`, with a copy of each that an output would overwrite before it is read."""
    copies: dict[int, Tensor] = {}
    allowed = _pieces_in_place(len(inputs), len(outputs)) if op == "adam_pieces" else _IN_PLACE.get(op, _NOWHERE)
    for target, out in enumerate(outputs):
        start = out.data_ptr()
        end = start + out.nbytes
        for source, tensor in enumerate(inputs):
            address = tensor.data_ptr()
            if address < end and start < address + tensor.nbytes:
                same = address == start and tensor.nbytes == out.nbytes
                if not (same and (source, target) in allowed):
                    copies[source] = tensor.clone()
    return [copies.get(index, tensor) for index, tensor in enumerate(inputs)] if copies else inputs
