"""Keys and values of a layer cut into what each drive holds, as `kv_spread.py` says."""

from __future__ import annotations

from collections.abc import Sequence

from controller.offload.kv_spread import KvSpread
from controller.plan.script import Script, Value


def prompt_pieces(s: Script, spread: KvSpread, whole: Value, head_dim: int) -> list[tuple[int, Value]]:
    """The part of a prompt's keys or values (rows, tokens, g*d) that goes to each drive, by its number."""
    shares = list(enumerate(spread.shares))
    if len(shares) == 1:
        return [(0, whole)]
    if not spread.by_tokens:
        return list(enumerate(split_heads(s, whole, [share.kv_head_count for _, share in shares], head_dim)))
    rows, size = rows_of(whole), whole.shape[-1]
    assert isinstance(size, int), "widths are never open"
    shares = [(drive, share) for drive, share in shares if share.prompt_tokens]
    if rows == 1:
        return [(drive, whole.part(share.prompt[0] * size, (1, share.prompt_tokens, size))) for drive, share in shares]
    # Token-major, the tokens of a drive are one range of bytes; drives expect head-major, so it is transposed back.
    token_major = s.op("swap_axes", whole)
    return [(drive, s.op("swap_axes", token_major.rows(*share.prompt))) for drive, share in shares]


def split_heads(s: Script, whole: Value, heads: Sequence[int], head_dim: int) -> list[Value]:
    """Columns of `whole` (..., n*d): `heads` of them for each drive."""
    kinds = [(whole.dtype, (*whole.shape[:-1], count * head_dim)) for count in heads]
    return [each for each in s.results("split", whole, makes=kinds) if isinstance(each, Value)]


def rows_of(value: Value) -> int:
    """Rows of a prompt pass."""
    rows = value.shape[0]
    assert isinstance(rows, int), "the rows of a pass are a number"
    return rows
