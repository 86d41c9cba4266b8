"""Weights in few bits: how many bytes a row of a matrix takes with its scales, and which matrices are stored so.

A quantised matrix (n, k) is a tensor of bytes (n, row bytes): a row is its packed weights and, behind them, the scales
and zero points of its groups. `packed_linear` multiplies by it as it is. Embeddings, norms and biases stay as they are.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from node.hardware.packed import PACKED, PackedFormat

__all__ = ["PACKED", "Quantization", "stored"]

EXPERTS = ("expert_gate", "expert_up", "expert_down")
"""Matrices of experts, a matrix for each in one tensor."""
LINEARS = (
    *("q", "k", "v", "o", "gate", "up", "down", "qkv", "kv", "head", "q_down", "kv_down"),
    *("shared_gate", "shared_up", "shared_down", *EXPERTS),
)
"""Matrices that may be quantised; those that decoding absorbs (``k_up``, ``v_up``) stay as servers keep them."""


@dataclass(frozen=True, slots=True)
class Quantization:
    """How the matrices of a model are stored.

    Attributes:
        text: for people.
        bits: of a weight.
        group: weights of a row that share a scale and a zero point; 0 for the whole row.
        scale_bits, zero_bits: of one scale, of one zero point; 0 where there is one for the whole matrix or none.
        kind: of a weight: ``int``, ``fp8`` (e4m3), ``fp4`` (e2m1) or ``nf4``.
        activations: what products round their other operand to, in 8 bits of the same kind: ``token`` (a scale a row,
            found as it goes), ``block`` (a scale for 128 of a row), ``tensor`` (one that the checkpoint brings); "" for
            none, where weights are converted back instead.
        scale_rows: rows that share their scales; 0 for none, -1 for all of the matrix.
        kv_dtype: element type of KV caches that goes with it; "" where nothing is said.
        skipped: matrices that stay as they are, by name within a layer; ``head`` for the head.
        notes: what of it a virtual run does not model.
    """

    text: str
    bits: int
    group: int
    scale_bits: int
    zero_bits: int
    skipped: tuple[str, ...] = ("head",)
    notes: tuple[str, ...] = ()
    kind: str = "int"
    activations: str = ""
    scale_rows: int = 0
    kv_dtype: str = ""

    def with_notes(self, *notes: str) -> Quantization:
        """The same with more to say."""
        return replace(self, notes=(*self.notes, *notes))

    @property
    def packed(self) -> PackedFormat:
        """How a row of a matrix is packed."""
        return PackedFormat(self.kind, self.bits, self.group, self.scale_bits, self.zero_bits, self.scale_rows)

    @property
    def scales(self) -> str:
        """What shares a scale of activations, as operations have it."""
        return self.activations or "token"

    def row_bytes(self, columns: int) -> int:
        """Size of a row of `columns` weights with its scales [bytes]."""
        return self.packed.row_bytes(columns)


def stored(
    quantization: Quantization | None, name: str, dtype: str, extents: tuple[int, ...]
) -> tuple[str, tuple[int, ...]]:
    """Element type and shape in which a weight lies in memory.

    Args:
        quantization: of the model, None for none.
        name: canonical, ``layers.0.q.weight`` or ``head``.
        dtype: where it is not quantised.
        extents: of the weight.
    """
    if quantization is None or not name.endswith(("weight", "head")) or len(extents) < 2:
        return dtype, extents
    matrix = name.removesuffix(".weight").rpartition(".")[2]
    parts = {"qkv": ("q", "k", "v"), "kv": ("k", "v")}.get(matrix, (matrix,))
    if matrix not in LINEARS or set(parts) & set(quantization.skipped):
        return dtype, extents
    return PACKED, (*extents[:-1], quantization.row_bytes(extents[-1]))
