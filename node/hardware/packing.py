"""Packing of weights into rows of bytes, and back, in numpy: what a live run stores and its kernels read."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from node.hardware.packed import PackedFormat

Bytes = npt.NDArray[np.uint8]
_FP4 = np.array([0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0], np.float32)
"""Magnitudes of e2m1. Source: OCP Microscaling Formats (MX) 1.0, section 5.3.3."""
_NF4 = np.array([
    -1.0, -0.6961928, -0.5250731, -0.39491749, -0.28444138, -0.18477343, -0.09105004, 0.0, 0.0795803, 0.1609302,
    0.2461123, 0.33791524, 0.44070983, 0.562617, 0.72295684, 1.0,
], np.float32)  # fmt: skip
"""Source: Dettmers et al. 2023, QLoRA, arXiv 2305.14314, appendix E."""
_EIGHT = np.arange(128)
_FP8 = np.where(_EIGHT < 8, _EIGHT % 8 / 8 * 2.0**-6, (1 + _EIGHT % 8 / 8) * 2.0 ** (_EIGHT // 8 - 7)).astype(
    np.float32
)
"""Magnitudes of e4m3, the last of which means no number. Source: Micikevicius et al. 2022, arXiv 2209.05433."""
_FP8_MIDDLES = (_FP8[:126] + _FP8[1:127]) / 2
_FP8_MOST = 448.0
_FP4_MOST = 6.0


def pack(matrix: npt.NDArray[np.float32], packed: PackedFormat) -> Bytes:
    """A matrix (n, k), or one for every expert (e, n, k), as packed rows.

    Raises:
        ValueError: a matrix with too few rows for the scales that they share.
    """
    if matrix.ndim == 3:
        return np.stack([pack(one, packed) for one in matrix])
    rows, columns = matrix.shape
    group = packed.group or columns
    padded = np.zeros((rows, packed.groups(columns) * group), np.float32)
    padded[:, :columns] = matrix
    grouped = padded.reshape(rows, -1, group)
    low, high = grouped.min(-1), grouped.max(-1)
    if packed.scale_rows:
        for start, stop in _shared(rows, packed):
            low[start:stop], high[start:stop] = low[start:stop].min(0), high[start:stop].max(0)
    scale, zero = _scales(low, high, packed)
    codes = _codes(grouped, scale[..., None], zero[..., None], packed).reshape(rows, -1)[:, :columns]
    made = np.zeros((rows, packed.row_bytes(columns)), np.uint8)
    whole = packed.weight_bytes(columns)
    if packed.scale_rows:
        made[:, :whole] = _joined(codes, packed.bits, whole)
        for start, stop in _shared(rows, packed):
            aside = _scale_codes(scale[start : start + 1], packed)[0].view(np.uint8)
            room = made[start:stop, whole:]
            if aside.size > room.size:
                raise ValueError(
                    f"{stop - start} rows of {columns} columns have no room for {aside.size} bytes of scales"
                )
            flat = np.zeros(room.size, np.uint8)
            flat[: aside.size] = aside
            made[start:stop, whole:] = flat.reshape(room.shape)
        return made
    bits = [_bits(codes, packed.bits), _bits(_scale_codes(scale, packed), packed.scale_bits)]
    if packed.zero_bits:
        bits.append(_bits(zero.astype(np.uint32), packed.zero_bits))
    joined = np.packbits(np.concatenate(bits, 1), axis=1)
    made[:, : joined.shape[1]] = joined
    return made


def unpack(stored: Bytes, packed: PackedFormat, columns: int) -> npt.NDArray[np.float32]:
    """The matrix that packed rows (n, bytes) say, (n, k)."""
    rows, groups = len(stored), packed.groups(columns)
    whole = packed.weight_bytes(columns)
    zero: npt.NDArray[np.float32] = np.zeros((rows, groups), np.float32)
    if packed.scale_rows:
        codes = _numbers(np.unpackbits(stored[:, :whole], axis=1), columns, packed.bits)
        scale = np.empty((rows, groups), np.float32)
        for start, stop in _shared(rows, packed):
            aside = np.ascontiguousarray(stored[start:stop, whole:]).reshape(1, -1)
            scale[start:stop] = _from_scale_codes(
                _numbers(np.unpackbits(aside, axis=1), groups, packed.scale_bits, little=True), packed
            )
    else:
        bits = np.unpackbits(stored, axis=1)
        first, second = columns * packed.bits, columns * packed.bits + groups * packed.scale_bits
        codes = _numbers(bits, columns, packed.bits)
        scale = _from_scale_codes(_numbers(bits[:, first:], groups, packed.scale_bits), packed)
        if packed.zero_bits:
            zero = _numbers(bits[:, second:], groups, packed.zero_bits).astype(np.float32)
    group = packed.group or columns
    wide = [np.repeat(each, group, 1)[:, :columns] for each in (scale, zero)]
    return _values(codes, packed, wide[1]) * wide[0]


def _shared(rows: int, packed: PackedFormat) -> list[tuple[int, int]]:
    """Ranges of rows that share scales; what is left over at the end belongs to the last."""
    size = rows if packed.scale_rows < 0 else min(packed.scale_rows, rows)
    count = max(1, rows // size)
    return [(part * size, rows if part == count - 1 else (part + 1) * size) for part in range(count)]


def _scales(
    low: npt.NDArray[np.float32], high: npt.NDArray[np.float32], packed: PackedFormat
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Scales as they are kept, and zero points."""
    largest = np.maximum(np.abs(low), np.abs(high))
    zero = np.zeros_like(low)
    if packed.kind == "int" and packed.zero_bits:
        low, high = np.minimum(low, 0.0), np.maximum(high, 0.0)
        scale = (high - low) / (2**packed.bits - 1)
    else:
        most = {"int": 2.0 ** (packed.bits - 1) - 1, "fp8": _FP8_MOST, "fp4": _FP4_MOST, "nf4": 1.0}[packed.kind]
        scale = largest / np.float32(most)
    scale = _from_scale_codes(_scale_codes(scale.astype(np.float32), packed), packed)
    if packed.kind == "int" and packed.zero_bits:
        zero = np.clip(np.round(-low / np.where(scale > 0, scale, 1)), 0, 2**packed.bits - 1).astype(np.float32)
    return scale, zero


def _scale_codes(scale: npt.NDArray[np.float32], packed: PackedFormat) -> npt.NDArray[np.generic]:
    if packed.scale_bits == 8:  # a power of two, no smaller than what keeps the largest weight
        exponent = np.ceil(np.log2(np.maximum(scale, 2.0**-126)))
        return (np.clip(exponent, -127, 127) + 127).astype(np.uint8)
    return scale.astype(np.float16).view(np.uint16) if packed.scale_bits == 16 else scale.view(np.uint32)


def _from_scale_codes(codes: npt.NDArray[np.generic], packed: PackedFormat) -> npt.NDArray[np.float32]:
    if packed.scale_bits == 8:
        return np.exp2(codes.astype(np.float32) - 127)
    if packed.scale_bits == 16:
        return codes.astype(np.uint16).view(np.float16).astype(np.float32)
    return np.ascontiguousarray(codes.astype(np.uint32)).view(np.float32)


def _codes(
    grouped: npt.NDArray[np.float32],
    scale: npt.NDArray[np.float32],
    zero: npt.NDArray[np.float32],
    packed: PackedFormat,
) -> npt.NDArray[np.uint8]:
    divided = grouped / np.where(scale > 0, scale, 1)
    if packed.kind == "fp8":
        below = np.searchsorted(_FP8_MIDDLES, np.abs(divided)).astype(np.uint8)
        return np.asarray(below + np.uint8(128) * (divided < 0), np.uint8)
    if packed.kind == "int":
        if packed.zero_bits:
            return np.asarray(np.clip(np.round(divided) + zero, 0, 2**packed.bits - 1), np.uint8)
        half = 2 ** (packed.bits - 1)
        return np.asarray(np.clip(np.round(divided), 1 - half, half - 1) + half, np.uint8)
    if packed.kind == "nf4":
        return np.asarray(np.abs(divided[..., None] - _NF4).argmin(-1), np.uint8)
    magnitude = np.abs(np.abs(divided)[..., None] - _FP4).argmin(-1)
    return np.asarray(magnitude + 8 * (divided < 0), np.uint8)


def _values(
    codes: npt.NDArray[np.uint32], packed: PackedFormat, zero: npt.NDArray[np.float32]
) -> npt.NDArray[np.float32]:  # fmt: skip
    """Weights before their scale."""
    if packed.kind == "fp8":
        return np.asarray(_FP8[codes & 127] * np.where(codes & 128, -1, 1), np.float32)
    if packed.kind == "int":
        return codes.astype(np.float32) - (zero if packed.zero_bits else np.float32(2 ** (packed.bits - 1)))
    if packed.kind == "nf4":
        return np.asarray(_NF4[codes], np.float32)
    return np.asarray(_FP4[codes & 7] * np.where(codes & 8, -1, 1), np.float32)


def _bits(codes: npt.NDArray[np.generic], width: int) -> npt.NDArray[np.uint8]:
    """Codes (n, k) as bits (n, k*width), the highest first."""
    shifts = np.arange(width - 1, -1, -1, dtype=np.uint32)
    found = (codes.astype(np.uint32)[..., None] >> shifts) & 1
    return found.reshape(len(codes), -1).astype(np.uint8)


def _joined(codes: npt.NDArray[np.uint8], width: int, nbytes: int) -> Bytes:
    return np.packbits(_bits(codes, width), axis=1)[:, :nbytes]


def _numbers(bits: npt.NDArray[np.uint8], count: int, width: int, *, little: bool = False) -> npt.NDArray[np.uint32]:
    """The first `count` codes of rows of bits; `little` for bytes with the lowest first, as memory has numbers."""
    taken = bits[:, : count * width].reshape(len(bits), count, width)
    if little:
        taken = taken.reshape(len(bits), count, width // 8, 8)[:, :, ::-1].reshape(taken.shape)
    weights = np.left_shift(np.uint32(1), np.arange(width - 1, -1, -1, dtype=np.uint32))
    return np.asarray((taken.astype(np.uint32) * weights).sum(-1, dtype=np.uint32))
