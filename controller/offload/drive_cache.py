"""The KV cache of one layer on one drive: prompt and generated tokens in flash, the open group in its DRAM.

New tokens gather in the group buffer; a full group (`kv_spread.GROUP_TOKENS`) is appended to the generated tokens.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from controller.offload.kv_spread import GROUP_TOKENS
from controller.plan.ops import Buffer, View
from controller.plan.script import Script, Value
from controller.plan.size import Size

Pair = tuple[Buffer, Buffer]


class DriveCache:
    """Keys and values, each (batch, g, tokens, d).

    Attributes:
        prompt, generated: in flash.
        tail: the open group, in the DRAM of the drive.
    """

    def __init__(
        self, drive: str, layer: int, dtype: str, batch: int, kv_heads: int, head_dim: int, prompt: int, generated: int
    ) -> None:
        """A cache with room for `prompt` and `generated` tokens of each sequence."""

        def pair(tier: str, name: str, tokens: int) -> Pair:
            extents = (batch, kv_heads, tokens, head_dim)
            k, v = (Buffer(drive, tier, f"{name}_{part}{layer}", dtype, extents) for part in "kv")
            return k, v

        self.drive, self.layer, self.dtype = drive, layer, dtype
        self.prompt = pair("flash", "prompt", prompt)
        self.generated = pair("flash", "generated", generated)
        self.tail = pair("dram", "group", GROUP_TOKENS)

    @property
    def buffers(self) -> Iterator[Buffer]:
        """Everything that has a byte."""
        return (buffer for buffer in (*self.prompt, *self.generated, *self.tail) if buffer.nbytes)

    def append(self, s: Script, new: Sequence[Value], rows: tuple[int, int], slot: Size) -> None:
        """Keys and values of one token of some sequences, each (rows, g*d), become token `slot` of the group."""
        start, stop = rows
        for part, tail in zip(new, self.tail, strict=True):
            _, kv_heads, _, head_dim = tail.shape
            one = part.reshape(stop - start, kv_heads, 1, head_dim)
            s.op("kv_write", one, out=tail.rows(start, stop), position=slot, tokens=1, label="kv append")

    def segments(self, rows: tuple[int, int]) -> list[tuple[View, View]]:
        """What attention reads of some sequences: prompt (if any of it is here), generated tokens, open group."""
        held = [pair for pair in (self.prompt, self.generated, self.tail) if pair is not self.prompt or pair[0].nbytes]
        return [(k.rows(*rows), v.rows(*rows)) for k, v in held]

    def flush(self, s: Script, rows: tuple[int, int], stored: Size) -> None:
        """Appends the full group to flash, after `stored` generated tokens."""
        for tail, kept in zip(self.tail, self.generated, strict=True):
            s.op(
                "kv_write", tail.rows(*rows), out=kept.rows(*rows),
                position=stored, tokens=GROUP_TOKENS, label="kv flush",
            )  # fmt: skip
