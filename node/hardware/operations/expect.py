"""What an operation expects of its operands: checks of one line that name operation, operand, given and expected."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NoReturn

from node.errors import BadAttribute, DtypeMismatch, ShapeMismatch
from node.hardware.operation import TensorType

FLOATS = frozenset(("fp32", "bf16", "fp16"))
"""Types that the arithmetic of the table runs in; others are moved, cast, gathered and reduced only."""

NUMBERS = FLOATS | {"fp64", "int64", "int32", "int16", "int8", "uint8"}
"""Types that can be added and compared."""


def expect_counts(
    operation: str,
    operands: str,
    inputs: Sequence[TensorType],
    outputs: Sequence[TensorType],
    input_counts: tuple[int, ...],
    output_counts: tuple[int, ...],
) -> None:
    """`operands` is the signature for people, such as ``x, w -> out``.

    Raises:
        ShapeMismatch: too few or too many operands.
    """
    if len(inputs) not in input_counts or len(outputs) not in output_counts:
        refuse_counts(operation, operands, inputs, outputs)


def refuse_counts(
    operation: str, operands: str, inputs: Sequence[TensorType], outputs: Sequence[TensorType]
) -> NoReturn:
    """Raises ShapeMismatch for a wrong number of operands."""
    raise ShapeMismatch(
        f"{operation}: got {len(inputs)} inputs and {len(outputs)} outputs, expected {operands}; "
        f"list the operands in this order"
    )


def expect_rank(operation: str, operand: str, tensor: TensorType, form: str, low: int, high: int | None = None) -> None:
    """`form` is the expected shape for people, such as ``(b, t, n)``; ranks from `low` to `high` pass.

    Raises:
        ShapeMismatch: another number of axes.
    """
    rank = len(tensor.shape)
    if rank < low or (rank > (low if high is None else high)):
        refuse_shape(operation, operand, tensor, form)


def expect_shape(operation: str, operand: str, tensor: TensorType, shape: tuple[int, ...], reason: str) -> None:
    """`reason` says what fixes the shape.

    Raises:
        ShapeMismatch: another shape.
    """
    if tensor.shape != shape:
        refuse_shape(operation, operand, tensor, str(shape), reason)


def refuse_shape(operation: str, operand: str, tensor: TensorType, expected: str, reason: str = "") -> NoReturn:
    """Raises ShapeMismatch for one operand."""
    because = f" because {reason}" if reason else ""
    raise ShapeMismatch(f"{operation}: {operand} has shape {tensor.shape}, expected {expected}{because}")


def expect_float(operation: str, operand: str, tensor: TensorType) -> None:
    """Raises DtypeMismatch unless `tensor` is fp32, bf16 or fp16."""
    if tensor.dtype not in FLOATS:
        raise DtypeMismatch(f"{operation}: {operand} is {tensor.dtype}, expected fp32, bf16 or fp16; cast it first")


def expect_number(operation: str, operand: str, tensor: TensorType) -> None:
    """Raises DtypeMismatch unless `tensor` can be added and compared."""
    if tensor.dtype not in NUMBERS:
        raise DtypeMismatch(
            f"{operation}: {operand} is {tensor.dtype}, expected one of {', '.join(sorted(NUMBERS))}; cast it first"
        )


def expect_dtype(operation: str, operand: str, tensor: TensorType, dtype: str, reason: str = "") -> None:
    """`reason` says what fixes the type.

    Raises:
        DtypeMismatch: another element type.
    """
    if tensor.dtype != dtype:
        because = f" because {reason}" if reason else ""
        raise DtypeMismatch(f"{operation}: {operand} is {tensor.dtype}, expected {dtype}{because}; cast it first")


def expect_like(operation: str, operand: str, tensor: TensorType, model: TensorType, model_name: str) -> None:
    """`tensor` has the shape and type of `model`.

    Raises:
        ShapeMismatch: another shape.
        DtypeMismatch: another element type.
    """
    if tensor.shape != model.shape:
        refuse_shape(operation, operand, tensor, str(model.shape), f"{model_name} has that shape")
    if tensor.dtype != model.dtype:
        expect_dtype(operation, operand, tensor, model.dtype, f"{model_name} is {model.dtype}")


def expect_range(operation: str, attribute: str, value: float, low: float, high: float, unit: str = "") -> None:
    """Both ends are allowed; `unit` says what is counted and where the limit comes from.

    Raises:
        BadAttribute: a value outside of low to high.
    """
    if not low <= value <= high:
        what = f" {unit}" if unit else ""
        raise BadAttribute(f"{operation}: attribute {attribute!r} is {value}, expected {low} to {high}{what}")


def expect_choice(operation: str, attribute: str, value: str, choices: Sequence[str]) -> None:
    """Raises BadAttribute unless `value` is one of `choices`."""
    if value not in choices:
        raise BadAttribute(f"{operation}: attribute {attribute!r} is {value!r}, expected one of {', '.join(choices)}")
