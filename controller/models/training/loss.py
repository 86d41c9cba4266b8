"""The end of a model in training: loss of a batch with its gradients, and the gradient of the embedding.

The logits of a large vocabulary outweigh everything else (50,257 x 2 B a token), so head, loss and their gradients take
some rows at a time; nothing of them outlives its rows.
"""

from __future__ import annotations

from dataclasses import dataclass

from controller.errors import BadWorkload, check_limit
from controller.models.norm import Weights, norm, norm_backward
from controller.models.shape import ModelShape
from controller.plan.build import as_view
from controller.plan.ops import Buffer, View
from controller.plan.script import Script, Value
from node.hardware.operation import ITEM_BYTES

LOGITS_BYTES = 512 * 2**20
"""Logits that are there at once, at most [bytes]."""
MOST_LOSS_BLOCKS = 1000
"""Parts of a batch that the loss is computed in, four ops each: 5 million tokens of a vocabulary of 50,000.

The check of a plan grows with their square: 10 s for a thousand.
"""


@dataclass(frozen=True, slots=True)
class Loss:
    """Mean cross-entropy of a batch.

    Attributes:
        shape: of the model.
        value: of the step, fp32 (1).
        rows: tokens whose logits are there at once.
        gradient_scale: factor on every gradient, not on the loss: one over the number of GPUs where the gradients of
            several are added up.
    """

    shape: ModelShape
    value: Buffer
    rows: int
    gradient_scale: float = 1.0

    def emit(
        self, s: Script, x: Value | View, targets: Buffer, embedding: Weights, head: Weights,
        embedding_gradients: Weights, head_gradients: Weights,
    ) -> Value:  # fmt: skip
        """Fills `value` and the gradients of the head, and returns the gradient of `x`.

        Args:
            s: takes the ops.
            x: output of the last layer (batch, seq, hidden).
            targets: token ids int64 (batch, seq).
            embedding, head: weights; the first is read where the head is the token table.
            embedding_gradients, head_gradients: filled; where the head is the token table its gradient is written, and
                `embed_backward` adds to it.
        """
        shape, batch, seq = self.shape, *targets.shape
        tied, hidden, tokens = shape.tie_word_embeddings, shape.hidden, batch * seq
        matrix = embedding["embed"] if tied else head["head"]
        d_matrix = embedding_gradients["embed"] if tied else head_gradients["head"]
        normed = norm(s, shape, head, "final_norm", x)
        d_normed = s.empty(normed.place, normed.dtype, normed.shape)
        for start in range(0, tokens, self.rows):
            rows = min(self.rows, tokens - start)
            some = normed.part(start * hidden, (rows, hidden))
            wanted = View(targets, start * ITEM_BYTES["int64"], (rows,))
            logits = s.op("linear", some, matrix, label="lm_head")
            # From the second turn on, loss and gradient of the matrix are added to what is there.
            s.op(
                "cross_entropy", logits, wanted, *([self.value] if start else []), out=(self.value, logits),
                scale=1.0 / tokens, gradient_scale=self.gradient_scale,
            )  # fmt: skip
            d_some = d_normed.part(start * hidden, (rows, hidden))
            s.op("linear_input_backward", logits, matrix, out=d_some, label="lm_head backward")
            sums = [d_matrix] if start else []
            s.op("linear_weight_backward", some, logits, *sums, out=d_matrix, label="lm_head backward")
        return norm_backward(s, shape, head, "final_norm", x, d_normed, head_gradients)


def rows_at_once(shape: ModelShape, batch: int, seq: int, dtype: str, logits_bytes: int) -> int:
    """Tokens whose logits take at most `logits_bytes`.

    Raises:
        BadWorkload: the batch makes too many blocks of that size.
    """
    tokens, item = batch * seq, ITEM_BYTES[dtype]
    rows = min(tokens, max(1, logits_bytes // (shape.vocab * item)))
    check_limit(
        BadWorkload, "the number of blocks that the loss is computed in", -(-tokens // rows), MOST_LOSS_BLOCKS,
        f"batch {batch} of {seq} tokens in blocks of {rows} tokens make a plan of {4 * -(-tokens // rows):,} ops and "
        f"logits of {tokens * shape.vocab * item / 2**40:,.3g} TiB in a step",
        "write a smaller --batch or --seq",
    )  # fmt: skip
    return rows


def embed_backward(s: Script, shape: ModelShape, ids: Buffer, gradient: Value, gradients: Weights) -> None:
    """Fills the gradients of the embedding, adding to what a tied head has put there."""
    batch, seq = ids.shape
    table = gradients["embed"]
    sums = [table] if shape.tie_word_embeddings else []
    s.op("embedding_backward", gradient, ids, *sums, out=table, scale=shape.embedding_scale)
    if shape.positions == "learned":
        positions = as_view(gradients["positions"])
        if seq < shape.max_positions + shape.position_offset:
            s.op("fill", on=gradient.place, out=positions, value=0.0)
        skipped = shape.position_offset * shape.hidden * ITEM_BYTES[positions.buffer.dtype]
        rows = View(positions.buffer, positions.offset_bytes + skipped, (seq * shape.hidden,))
        s.op("sum_rows", gradient.reshape(batch, seq * shape.hidden), out=rows)
