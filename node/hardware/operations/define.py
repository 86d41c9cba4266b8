"""How an entry of the table is made: its check and its demand see complete attributes, whoever calls them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from node.hardware.operation import Attributes, Demand, Operation, TensorType
from node.hardware.operations.attributes import CompleteAttributes, Declared, complete

Types = Sequence[TensorType]
Check = Callable[[Types, Types, CompleteAttributes], None]
DemandOf = Callable[[Types, Types, CompleteAttributes], Demand]


def define(
    name: str,
    summary: str,
    check: Check,
    demand: DemandOf,
    attributes: Declared | None = None,
    in_place: tuple[int, ...] = (),
) -> Operation:
    """An `Operation` whose `check` and `demand` take attributes with or without the defaults filled in.

    Args:
        name: unique in the table.
        summary: operands with shapes in parentheses, then what it does.
        check: of the operands, given complete attributes.
        demand: of a launch that passed `check`.
        attributes: name to (type, default); a default of None means required.
        in_place: indices of outputs that are partly written.
    """
    declared: Declared = dict(attributes or {})

    def check_launch(inputs: Types, outputs: Types, given: Attributes) -> None:
        check(inputs, outputs, complete(name, declared, given))

    def launch_demand(inputs: Types, outputs: Types, given: Attributes) -> Demand:
        return demand(inputs, outputs, complete(name, declared, given))

    return Operation(name, summary, declared, check_launch, launch_demand, in_place)


def elementwise_demand(
    inputs: Types,
    outputs: Types,
    flop: float,
    reads: tuple[int, ...] | None = None,
    writes: tuple[int, ...] | None = None,
) -> Demand:
    """Demand of a kernel that streams its operands through the vector unit; whole operands unless said otherwise.

    Half types are converted to fp32 in registers, so the peak that counts is that of fp32.

    Args:
        inputs, outputs: operands.
        flop: arithmetic operations; an exp, tanh, erf, square root or division counts as one [FLOP].
        reads: bytes read of each input [bytes].
        writes: bytes written to each output [bytes].

    Source: PyTorch computes element-wise kernels of half types in fp32 (``at::opmath_type`` in
    aten/src/ATen/OpMathType.h).
    """
    return Demand(
        "elementwise",
        float(flop),
        tuple([tensor.nbytes for tensor in inputs]) if reads is None else reads,
        tuple([tensor.nbytes for tensor in outputs]) if writes is None else writes,
        "fp64" if outputs and outputs[0].dtype == "fp64" else "fp32",
        "vector",
        {"elements": outputs[0].size if outputs else 0},
    )
