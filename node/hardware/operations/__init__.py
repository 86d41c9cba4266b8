"""The operation table: every kernel that a node can run, one family a file.

An entry checks the operands of a launch and says how much work it is; `node.compute` holds the arithmetic under the
same names. The controller checks plans against this table without importing torch.

Conventions: tensors are contiguous and row-major; ``b`` batch, ``t`` tokens, ``h`` heads, ``g`` KV heads, ``d`` head
dimension, ``v`` vocabulary. Arithmetic takes fp32, bf16 and fp16; moves take every type. Attributes that are absent get
their default, unknown ones are errors.
"""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from types import MappingProxyType

from node.errors import UnknownOperation
from node.hardware.operation import Operation
from node.hardware.operations.activation_backward import ACTIVATION_BACKWARD
from node.hardware.operations.attention import ATTENTION
from node.hardware.operations.attributes import CompleteAttributes, complete_attributes
from node.hardware.operations.control import CONTROL
from node.hardware.operations.elementwise import ELEMENTWISE
from node.hardware.operations.expert_parallel import EXPERT_PARALLEL
from node.hardware.operations.experts import EXPERTS
from node.hardware.operations.gradients import GRADIENTS
from node.hardware.operations.latent_attention import LATENT_ATTENTION
from node.hardware.operations.layout import LAYOUT
from node.hardware.operations.linear import LINEAR
from node.hardware.operations.linear_backward import LINEAR_BACKWARD
from node.hardware.operations.loss import LOSS
from node.hardware.operations.new_token import NEW_TOKEN
from node.hardware.operations.norms import NORMS
from node.hardware.operations.norms_backward import NORMS_BACKWARD
from node.hardware.operations.optimizer import OPTIMIZER
from node.hardware.operations.packed import PACKED_PRODUCTS
from node.hardware.operations.packed_attention import PACKED_ATTENTION
from node.hardware.operations.paged_attention import PAGED_ATTENTION
from node.hardware.operations.positions import POSITIONS
from node.hardware.operations.quantisation import QUANTISATION
from node.hardware.operations.reduction import REDUCTION
from node.hardware.operations.selection import SELECTION
from node.hardware.operations.sparse_attention import SPARSE_ATTENTION

__all__ = ["OPERATIONS", "CompleteAttributes", "complete_attributes", "operation", "operations_markdown"]

_FAMILIES = (
    *(LINEAR, NORMS, ELEMENTWISE, POSITIONS, ATTENTION, NEW_TOKEN, SPARSE_ATTENTION, LAYOUT),
    *(SELECTION, REDUCTION, QUANTISATION, OPTIMIZER, CONTROL),
    *(PACKED_ATTENTION, PAGED_ATTENTION, LINEAR_BACKWARD, NORMS_BACKWARD, ACTIVATION_BACKWARD, LOSS, GRADIENTS),
    *(EXPERTS, EXPERT_PARALLEL, LATENT_ATTENTION, PACKED_PRODUCTS),
)

OPERATIONS: Mapping[str, Operation] = MappingProxyType({entry.name: entry for family in _FAMILIES for entry in family})
"""Every operation by name, in the order of the families."""


def operation(name: str) -> Operation:
    """The entry called `name`.

    Raises:
        UnknownOperation: no such entry; names the nearest one.
    """
    entry = OPERATIONS.get(name)
    if entry is None:
        close = get_close_matches(name, OPERATIONS, 1)
        hint = f"did you mean {close[0]!r}?" if close else f"it has {', '.join(OPERATIONS)}"
        raise UnknownOperation(f"the operation table has no {name!r}; {hint}")
    return entry


def operations_markdown() -> str:
    """The table for people: name, operands with shapes, attributes with defaults."""
    lines = ["| operation | operands and result | attributes |", "| --- | --- | --- |"]
    for entry in OPERATIONS.values():
        attributes = ", ".join(
            f"`{name}`" if default is None else f"`{name}={default}`" for name, (_, default) in entry.attributes.items()
        )
        lines.append(f"| `{entry.name}` | {entry.summary.replace('|', chr(92) + '|')} | {attributes} |")
    return "\n".join(lines) + "\n"
