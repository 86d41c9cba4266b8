"""Calls whose kernels pass over their operands otherwise than once."""

from __future__ import annotations

from collections.abc import Sequence

from controller.capture.lowering.bytes_of import nbytes, streaming, total_bytes, whole
from controller.capture.trace import CallSignature, TensorOperand
from node.hardware.operation import Demand

BLOCKS, BLOCK_ELEMENTS = 320, 65_536
"""What one launch over a list of tensors covers (PyTorch, aten/src/ATen/native/cuda/MultiTensorApply.cuh)."""
HELD_ROW_BYTES = 200_000
"""Rows up to this long stay in the shared memory of a multiprocessor between the passes of a softmax."""


def copied(call: CallSignature) -> list[Demand]:
    """``copy_(self, source)``: the target is not read."""
    source = call.inputs[1] if len(call.inputs) > 1 else call.inputs[0]
    return [streaming(nbytes(source), total_bytes(call.outputs), 0.0, source.elements)]


def reduced(call: CallSignature) -> list[Demand]:
    """Sums, means and norms."""
    return whole(call, 0.0)


def softmax(call: CallSignature) -> list[Demand]:
    """Maximum, sum of exponentials, result: three passes where a row outgrows shared memory (SoftMax.cu)."""
    x = call.inputs[0]
    row = nbytes(x) // max(x.elements // max(x.shape[-1], 1), 1)
    passes = 1 if row <= HELD_ROW_BYTES else 3
    return [streaming(passes * nbytes(x), total_bytes(call.outputs), 4.0 * x.elements, x.elements)]


def softmax_backward(call: CallSignature) -> list[Demand]:
    """The sum of the gradient, then the result; the gradient is read twice where a row outgrows shared memory."""
    grad, out = call.inputs[:2]
    row = nbytes(grad) // max(grad.elements // max(grad.shape[-1], 1), 1)
    passes = 1 if row <= HELD_ROW_BYTES else 2
    return [streaming(passes * nbytes(grad) + nbytes(out), total_bytes(call.outputs), 3.0 * grad.elements)]


def loss(call: CallSignature) -> list[Demand]:
    """``nll_loss_forward``: one element of each row, of which memory gives a sector."""
    target = call.inputs[1]
    return [streaming(target.elements * (32 + 8), 8)]


def loss_backward(call: CallSignature) -> list[Demand]:
    """``nll_loss_backward``: zeros everywhere, then one element of each row."""
    rows = call.inputs[2].elements if len(call.inputs) > 2 else 0
    return [streaming(0, total_bytes(call.outputs)), streaming(rows * 8, rows * 32)]


def gathered(call: CallSignature) -> list[Demand]:
    """``embedding`` and other indexing: the rows that are taken, not the table."""
    return [streaming(total_bytes(call.outputs) + total_bytes(call.inputs[1:]), total_bytes(call.outputs))]


def scattered_rows(call: CallSignature) -> list[Demand]:
    """``embedding_dense_backward``: zeros, a sort of the indices, and sums of rows that meet."""
    grad, indices = call.inputs[:2]
    sort = 4 * nbytes(indices)
    return [
        streaming(0, total_bytes(call.outputs)),
        streaming(sort, sort),
        streaming(nbytes(grad) + nbytes(indices), min(nbytes(grad), total_bytes(call.outputs))),
    ]


def put(call: CallSignature) -> list[Demand]:
    """``index_put_``, ``scatter_``: what is put is read and written; the rest of the target stays."""
    values = call.inputs[-1]
    return [streaming(2 * nbytes(values), nbytes(values), 0.0, values.elements)]


def norm_forward(call: CallSignature) -> list[Demand]:
    """Normalisation of rows, which stay in registers between its passes."""
    return whole(call, 6.0)


def norm_backward(call: CallSignature) -> list[Demand]:
    """The gradient of the input, then sums over rows for those of weight and bias, which read both anew."""
    grad, x = call.inputs[:2]
    both = nbytes(grad) + nbytes(x)
    made = [streaming(both, nbytes(call.outputs[0]), 10.0 * x.elements, x.elements)]
    if len(call.outputs) > 1:
        made.append(streaming(both, total_bytes(call.outputs[1:]), 4.0 * x.elements))
    return made


def over_lists(call: CallSignature) -> list[Demand]:
    """``_foreach_*``: every tensor of the lists once, in as many launches as blocks fit."""
    first = call.inputs[: max(len(call.inputs) // _lists(call.name), 1)]
    return _launches(first, total_bytes(call.inputs), total_bytes(call.outputs or first))


def copied_lists(call: CallSignature) -> list[Demand]:
    """``_foreach_copy_``: the targets are not read."""
    half = len(call.inputs) // 2
    return _launches(call.inputs[:half], total_bytes(call.inputs[half:]), total_bytes(call.inputs[:half]))


def norms_of_lists(call: CallSignature) -> list[Demand]:
    """``_foreach_norm``: reads, then a small kernel that ends the sums."""
    return [*_launches(call.inputs, total_bytes(call.inputs), 4 * len(call.inputs)), streaming(4, 4)]


def fused_adam(call: CallSignature) -> list[Demand]:
    """``_fused_adamw_``: parameters, gradients and two moments; three of them are written."""
    tensors = [each for each in call.inputs if each.shape]
    quarter = len(tensors) // 4
    written = total_bytes(tensors[:quarter]) + total_bytes(tensors[2 * quarter : 4 * quarter])
    return _launches(tensors[:quarter], total_bytes(tensors), written)


def gathered_in(call: CallSignature) -> list[Demand]:
    """``fsdp.all_gather_copy_in``: shards side by side into the part of the gathered buffer that is this rank's."""
    shards = call.inputs[:-1] or call.inputs
    return _launches(shards, total_bytes(shards), total_bytes(shards))


def split_out(call: CallSignature) -> list[Demand]:
    """``split_with_sizes_copy``: the buffer into the tensors that are given for its parts."""
    return [streaming(nbytes(call.inputs[0]), nbytes(call.inputs[0]))]


def cut_and_joined(call: CallSignature) -> list[Demand]:
    """``_chunk_cat``: every tensor in chunks, side by side, in the type of the result."""
    out = call.outputs[-1] if call.outputs else call.inputs[-1]
    given = call.inputs[:-1] if not call.outputs else call.inputs
    return [streaming(total_bytes(given), nbytes(out), 0.0, out.elements)]


def _lists(name: str) -> int:
    base, _, overload = name.split(".", 1)[1].partition(".")
    if "addcmul" in base or "addcdiv" in base:
        return 3
    return 2 if overload == "List" or "lerp" in base else 1


def _launches(first: Sequence[TensorOperand], reads: int, writes: int) -> list[Demand]:
    elements = sum(each.elements for each in first)
    count = max(1, -(-elements // (BLOCKS * BLOCK_ELEMENTS)))
    return [streaming(reads // count, writes // count, elements / count, elements // count) for _ in range(count)]
