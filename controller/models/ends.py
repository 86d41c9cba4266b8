"""What stands before the layers of a model and behind them: the embedding and the logits."""

from __future__ import annotations

from controller.errors import BadWorkload
from controller.models.linear import multiplied
from controller.models.norm import Fetched, Weights, norm
from controller.models.shape import ModelShape
from controller.plan.build import Operand, as_view
from controller.plan.ops import View
from controller.plan.script import Script, Source, Value
from controller.plan.size import Affine, Size
from node.hardware.operation import ITEM_BYTES


def embed(
    s: Script, shape: ModelShape, weights: Weights, ids: Operand, position: Size = 0, out: Value | View | None = None
) -> Value:
    """Token ids (rows) or (rows, tokens) to the residual stream; `position` is that of the first token.

    Raises:
        BadWorkload: a learned position beyond the model's table.
    """
    learned = shape.positions == "learned"
    x = s.op("embedding", weights["embed"], ids, out=None if learned else out, scale=shape.embedding_scale)
    return add_positions(s, shape, weights["positions"], x, position, out) if learned else x


def add_positions(
    s: Script, shape: ModelShape, table: Operand, x: Value, position: Size | Source, out: Value | View | None = None
) -> Value:
    """The stream (rows, hidden) or (rows, tokens, hidden) with learned positions from `position` on.

    Args:
        s: takes the ops.
        shape: of the model.
        table: of positions (positions, hidden).
        x: embedded tokens.
        position: of the first token; or of each row, int64 (rows).
        out: where the stream goes; None for a new value.

    Raises:
        BadWorkload: a position beyond the table.
    """
    if not isinstance(position, int | Affine):
        rows, view = (shape.max_positions, shape.hidden), as_view(table)
        first = shape.position_offset * shape.hidden * ITEM_BYTES[view.buffer.dtype]
        return s.op("add", x, s.op("embedding", View(view.buffer, first, rows), position, scale=1.0))
    tokens = x.shape[1] if len(x.shape) > 2 else 1
    assert isinstance(tokens, int), "the tokens of a prompt are never open"
    if isinstance(position, int) and position + tokens > shape.max_positions:
        raise BadWorkload(
            f"{tokens} tokens from position {position} on, but {shape.name} has {shape.max_positions} positions; "
            f"write a shorter prompt or choose another model"
        )
    # Rows position.. of the table, read as one long row that is added to every sequence.
    view, width = as_view(table), tokens * shape.hidden
    start = (position + shape.position_offset) * (shape.hidden * ITEM_BYTES[view.buffer.dtype])
    row = View(view.buffer, start + view.offset_bytes, (width,))  # type: ignore[operator]
    flat = (x.shape[0], width)
    if out is not None:
        s.op("add", x.reshape(*flat), row, out=out.reshape(*flat))  # type: ignore[arg-type]
        return out  # type: ignore[return-value]
    return s.op("add", x.reshape(*flat), row).reshape(*x.shape)


def last_token(s: Script, x: Source) -> Source:
    """The stream (rows, hidden) of the last token; `x` itself where it is of one token."""
    if len(x.shape) <= 2:
        return x
    tokens = x.shape[1]
    assert isinstance(tokens, int), "the tokens of a prompt are never open"
    return s.op("take_rows", x, row=tokens - 1)


def logits(
    s: Script, shape: ModelShape, weights: Fetched, x: Source, head: str = "", out: Source | None = None
) -> Value:
    """Final norm and logits (rows, vocab) of the last token.

    Args:
        s: takes the ops.
        shape: of the model.
        weights: of the whole model, or those outside of its layers.
        x: residual stream (rows, hidden) or (rows, tokens, hidden).
        head: weight that makes the logits; "" for the one that the shape says.
        out: where they go; None for a new value.
    """
    head = head or ("embed" if shape.tie_word_embeddings else "head")
    bias = (weights["head.bias"],) if shape.head_bias else ()
    normed = norm(s, shape, weights, "final_norm", last_token(s, x))
    return multiplied(s, weights[head], normed, "lm_head", bias, out, shape.quantization)
