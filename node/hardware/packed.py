"""Weights in few bits: what a packed row holds, and what a kernel does to read it.

A row of a packed matrix is its weights, `bits` each, then the scales and the zero points of its groups. Where many rows
share scales (`scale_rows`), the last bytes of those rows together hold them.

Conversion of a weight to 16 bits costs lane instructions (`conversion.py`). A product with more than `ROWS` rows meets
every weight once for each `ROWS` of them, and converts it each time.
Source: Kim et al. 2022, arXiv 2211.10017, section 3.2, and Frantar et al. 2024, Marlin, arXiv 2408.11743, section 3:
for four int4 weights two ``lop3`` and a shift, two 16-bit subtractions or multiply-adds, and two multiplications by
scales; for four int8 weights two ``prmt``, two subtractions and, with a scale a row, no multiplication inside. fp8 and
fp4 take a mask, a shift and a multiplication a pair (vLLM, csrc/quantization/gptq_marlin/dequant.h); nf4 looks each up
in a table (bitsandbytes, csrc/kernels.cu). Blocks of 64 rows: vLLM, gptq_marlin.cu, at most 4 x 16 rows a block.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from node.errors import BadAttribute

KINDS: Final = ("int", "fp8", "fp4", "nf4")
"""int: whole numbers; fp8: e4m3; fp4: e2m1; nf4: sixteen quantiles of a normal distribution."""
PACKED: Final = "uint8"
"""Element type of packed rows."""
ROWS: Final = 64
"""Rows of the other operand that a converted weight serves."""
INSTRUCTIONS: Final[Mapping[tuple[str, int], float]] = {
    ("int", 2): 2.0, ("int", 3): 3.0, ("int", 4): 1.75, ("int", 8): 1.0, ("fp8", 8): 1.5, ("fp4", 4): 2.0,
    ("nf4", 4): 3.0,
}  # fmt: skip
"""Lane instructions for one weight, by kind and bits. int3 crosses words; counted as one shift more."""
BLOCK: Final = 128
"""Elements of a row of activations that share a scale, where blocks of them do."""
SCALE_BYTES: Final = 4
"""Of a scale of activations, fp32."""


@dataclass(frozen=True, slots=True)
class PackedFormat:
    """How the rows of a matrix are packed.

    Attributes:
        kind: one of `KINDS`.
        bits: of a weight.
        group: weights of a row that share a scale and a zero point; 0 for the whole row.
        scale_bits, zero_bits: of one scale (16: fp16, 32: fp32, 8: a power of two), of one zero point.
        scale_rows: rows that share scales; 0 for none, -1 for all of the matrix.
    """

    kind: str
    bits: int
    group: int
    scale_bits: int
    zero_bits: int = 0
    scale_rows: int = 0

    @property
    def text(self) -> str:
        """As attributes of operations have it."""
        return f"{self.kind} {self.bits} {self.group} {self.scale_bits} {self.zero_bits} {self.scale_rows}"

    @property
    def instructions(self) -> float:
        """Lane instructions for one weight."""
        return INSTRUCTIONS[self.kind, self.bits]

    def groups(self, columns: int) -> int:
        """Groups of a row."""
        return -(-columns // self.group) if self.group else 1

    def weight_bytes(self, columns: int) -> int:
        """Bytes of the weights of a row, without what follows them."""
        return -(-columns * self.bits // 8)

    def row_bytes(self, columns: int) -> int:
        """Size of a row with its scales [bytes]."""
        aside = self.groups(columns) * (self.scale_bits + self.zero_bits)
        if self.scale_rows:
            rows = self.scale_rows if self.scale_rows > 0 else aside // 8
            return self.weight_bytes(columns) + max(1, -(-aside // (8 * rows)))
        return -(-(columns * self.bits + aside) // 8)


@lru_cache(maxsize=64)
def parse_format(text: str) -> PackedFormat:
    """The format that `text` says.

    Raises:
        BadAttribute: it says none.
    """
    kind, *numbers = text.split() or [""]
    if kind not in KINDS or len(numbers) != 5 or not all(n.lstrip("-").isdigit() for n in numbers):
        raise BadAttribute(
            f"format is {text!r}, expected a kind ({', '.join(KINDS)}), then bits, group, scale bits, zero bits and "
            f"scale rows"
        )
    bits, group, scale_bits, zero_bits, scale_rows = map(int, numbers)
    if (kind, bits) not in INSTRUCTIONS:
        raise BadAttribute(f"format is {text!r}: {kind} has no weights of {bits} bits")
    return PackedFormat(kind, bits, group, scale_bits, zero_bits, scale_rows)


def rounded_bytes(columns: int, block: bool) -> int:
    """Bytes of a row of activations in 8 bits with its scales [bytes]."""
    return columns + SCALE_BYTES * (-(-columns // BLOCK) if block else 1)


def rounded_columns(nbytes: int, block: bool) -> int:
    """Columns of a row of activations that takes so many bytes in 8 bits."""
    return nbytes - SCALE_BYTES * (-(-nbytes // (BLOCK + SCALE_BYTES)) if block else 1)
