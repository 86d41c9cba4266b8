"""Element type and quantisation that a user asks for in place of what a configuration says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from controller.errors import BadWorkload
from controller.models.quantization import Quantization
from controller.models.shape import ModelShape
from node.hardware.kv_types import KV_TYPES

DTYPES = ("bf16", "fp16", "fp32")
FORMATS: Mapping[str, Quantization | None] = {
    "none": None,
    "fp8": Quantization("fp8, one scale a matrix", 8, 0, 32, 0, kind="fp8", activations="token", scale_rows=-1),
    "fp8-block": Quantization(
        "fp8, blocks of 128 x 128", 8, 128, 32, 0, kind="fp8", activations="block", scale_rows=128
    ),
    "int8": Quantization("int8, one scale a row", 8, 0, 32, 0, activations="token"),
    "int4": Quantization("int4, groups of 128", 4, 128, 16, 4),
    "mxfp4": Quantization("mxfp4, blocks of 32", 4, 32, 8, 0, kind="fp4"),
}
"""Formats by name; scales and zero points as GPTQ, fp8 of vLLM and the OCP's MX have them."""


_KV_NAMES = {
    "fp8_e4m3": "fp8", "float8_e4m3fn": "fp8", "float16": "fp16", "half": "fp16", "bfloat16": "bf16",
    "float32": "fp32", "float": "fp32",
}  # fmt: skip
"""Other tools' names of the types of KV caches."""


def in_formats(
    shape: ModelShape, dtype: str | None, quantization: str | None, kv_dtype: str | None = None
) -> ModelShape:
    """The shape in other formats than it was published in; None keeps what it has.

    Raises:
        BadWorkload: an unknown format, or one that the model cannot have.
    """
    if dtype is not None:
        if dtype not in DTYPES:
            raise BadWorkload(f"--dtype {dtype!r}: element types of runs are {', '.join(DTYPES)}; choose one of them")
        shape = replace(shape, dtype=dtype)
    if kv_dtype is not None:
        shape = replace(shape, kv_dtype=_kv_type(kv_dtype))
    if quantization is None:
        return shape
    if quantization not in FORMATS:
        raise BadWorkload(f"--quantization {quantization!r}: formats are {', '.join(FORMATS)}; choose one of them")
    old = () if shape.quantization is None else shape.quantization.notes
    found = FORMATS[quantization]
    new = () if found is None else found.notes

    def said(notes: tuple[str, ...]) -> tuple[str, ...]:
        return (*(note for note in notes if note not in old), *new)

    return replace(shape, quantization=found, notes=said(shape.notes), without_values=said(shape.without_values))


def _kv_type(asked: str) -> str:
    """Element type of caches by one of its names; "" for that of activations.

    Raises:
        BadWorkload: no such type.
    """
    found = "" if asked == "auto" else _KV_NAMES.get(asked, asked)
    if found and found not in KV_TYPES:
        raise BadWorkload(
            f"--kv-dtype {asked!r}: types of KV caches are auto, {', '.join(KV_TYPES)}; choose one of them"
        )
    return found
