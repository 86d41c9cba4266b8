"""The two ends of a model in training: embedding, and head with loss, each forward and backward.

The logits of a large vocabulary outweigh everything else (50,257 x 2 B a token), so head, loss and their gradients take
so many rows at a time; nothing of them outlives its rows.
"""

from __future__ import annotations

from typing import Any

from controller.errors import BadWorkload, check_limit
from controller.models.shape import ModelShape
from controller.models.training.layout import embedding_layout, head_layout
from controller.plan.build import Operand, PlanBuilder
from controller.plan.ops import Buffer, View
from node.hardware.operation import ITEM_BYTES

MOST_LOSS_BLOCKS = 1000
"""Parts of a batch that the loss is computed in, four ops each: 5 million tokens of a vocabulary of 50,000.

The check of a plan grows with their square: 10 s for a thousand.
"""


class Ends:
    """Fragments of both ends of one batch; `TrainingStage` says what they are for.

    Attributes:
        loss_value: mean loss of the step, fp32 (1).
        scratch_bytes: of the arena that they need [bytes].
    """

    def __init__(
        self,
        shape: ModelShape,
        device: str,
        tier: str,
        name: str,
        batch: int,
        seq: int,
        dtype: str,
        logits_bytes: int,
        gradient_scale: float = 1.0,
    ) -> None:
        if shape.positions == "learned" and seq > shape.max_positions:
            raise BadWorkload(f"sequences of {seq} tokens, but {shape.name} has {shape.max_positions} positions")
        self._shape, self._device, self._batch, self._seq, self._dtype = shape, device, batch, seq, dtype
        self._gradient_scale = gradient_scale
        self._tokens, self._item = batch * seq, ITEM_BYTES[dtype]
        self._rows = min(self._tokens, max(1, logits_bytes // (shape.vocab * self._item)))
        blocks = -(-self._tokens // self._rows)
        check_limit(
            BadWorkload, "the number of blocks that the loss is computed in", blocks, MOST_LOSS_BLOCKS,
            f"batch {batch} of {seq} tokens in blocks of {self._rows} tokens make a plan of {4 * blocks:,} ops and "
            f"logits of {self._tokens * shape.vocab * self._item / 2**40:,.3g} TiB in a step",
            "write a smaller --batch or --seq",
        )  # fmt: skip
        self._embedding, self._head = embedding_layout(shape), head_layout(shape)
        self.loss_value = Buffer(device, tier, f"{name}.loss", "fp32", (1,))
        # Normed stream, its gradient, and the logits of one turn.
        self.scratch_bytes = (2 * self._tokens * shape.hidden + self._rows * shape.vocab) * self._item

    def embed(self, build: PlanBuilder, arena: Buffer, embedding: Operand, ids: View, x: View) -> None:
        """See `TrainingStage.embed`."""
        shape, table = self._shape, self._embedding.view(embedding, "embed")
        learned = shape.positions == "learned"
        embedded = View(arena, 0, x.shape) if learned else x
        build.kernel("embedding", self._device, [table, ids], [embedded], scale=shape.embedding_scale)
        if learned:
            width = self._seq * shape.hidden
            row = self._position_rows(embedding)
            whole = (self._batch, width)
            build.kernel("add", self._device, [embedded.reshape(*whole), row], [x.reshape(*whole)])

    def embed_backward(self, build: PlanBuilder, ids: View, gradient: View, gradients: Operand) -> None:
        """See `TrainingStage.embed_backward`."""
        shape, table = self._shape, self._embedding.view(gradients, "embed")
        inputs = [gradient, ids, *([table] if shape.tie_word_embeddings else [])]
        build.kernel("embedding_backward", self._device, inputs, [table], scale=shape.embedding_scale)
        if shape.positions == "learned":
            positions = self._embedding.view(gradients, "positions")
            if self._seq < shape.max_positions + shape.position_offset:
                build.kernel("fill", self._device, [], [positions], value=0.0)
            rows = gradient.reshape(self._batch, self._seq * shape.hidden)
            build.kernel("sum_rows", self._device, [rows], [self._position_rows(gradients)])

    def loss(
        self,
        build: PlanBuilder,
        arena: Buffer,
        head: Operand,
        embedding: Operand,
        x: View,
        targets: View,
        gradient: View,
        head_gradients: Operand,
        embedding_gradients: Operand,
    ) -> None:
        """See `TrainingStage.loss`."""
        shape, hidden, device = self._shape, self._shape.hidden, self._device
        stream = self._tokens * hidden * self._item
        normed, d_normed = View(arena, 0, x.shape), View(arena, stream, x.shape)
        eps: dict[str, Any] = {"eps": shape.norm_eps}
        if shape.norm == "rms":
            eps["offset"] = shape.norm_offset
        norm = ["final_norm.weight", *(["final_norm.bias"] if shape.norm == "layer" else [])]
        weights = [self._head.view(head, name) for name in norm]
        build.kernel(f"{shape.norm}_norm", device, [x, *weights], [normed], **eps)
        if shape.tie_word_embeddings:
            matrix = self._embedding.view(embedding, "embed")
            d_matrix = self._embedding.view(embedding_gradients, "embed")
        else:
            matrix, d_matrix = self._head.view(head, "head"), self._head.view(head_gradients, "head")
        loss = self.loss_value.view()
        for start in range(0, self._tokens, self._rows):
            rows = min(self._rows, self._tokens - start)
            row_bytes = start * hidden * self._item
            some = View(arena, row_bytes, (rows, hidden))
            d_some = View(arena, stream + row_bytes, (rows, hidden))
            logits = View(arena, 2 * stream, (rows, shape.vocab))
            wanted = View(targets.buffer, targets.offset_bytes + start * ITEM_BYTES["int64"], (rows,))
            build.kernel("linear", device, [some, matrix], [logits], label="lm_head")
            # From the second turn on, loss and gradient of the matrix are added to what is there.
            build.kernel(
                "cross_entropy", device, [logits, wanted, *([loss] if start else [])], [loss, logits],
                scale=1.0 / self._tokens, gradient_scale=self._gradient_scale,
            )  # fmt: skip
            build.kernel("linear_input_backward", device, [logits, matrix], [d_some], label="lm_head backward")
            sums = [d_matrix] if start else []
            build.kernel("linear_weight_backward", device, [some, logits, *sums], [d_matrix], label="lm_head backward")
        d_weights = [self._head.view(head_gradients, name) for name in norm]
        build.kernel(f"{shape.norm}_norm_backward", device, [x, weights[0], d_normed], [gradient, *d_weights], **eps)

    def _position_rows(self, flat: Operand) -> View:
        """The rows of the positions of one sequence, as one long row (seq * hidden)."""
        table = self._embedding.view(flat, "positions")
        skipped = self._shape.position_offset * self._shape.hidden * ITEM_BYTES[table.buffer.dtype]
        return View(table.buffer, table.offset_bytes + skipped, (self._seq * self._shape.hidden,))
