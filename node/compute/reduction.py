"""One tensor out of several."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from node.hardware.operations.attributes import CompleteAttributes

_STEPS: Mapping[str, Callable[[Tensor, Tensor], Tensor]] = {
    "sum": torch.add,
    "mean": torch.add,
    "max": torch.maximum,
    "min": torch.minimum,
}


def reduce(inputs: Sequence[Tensor], outputs: Sequence[Tensor], attributes: CompleteAttributes) -> None:
    """a1 (...)[, a2 (...), ...] -> (...), in the order of the operands.

    Half types are summed in fp32 and rounded once. Nothing is written before every operand is read, so the output may
    be any of the operands.
    """
    kind, out = attributes.text("kind"), outputs[0]
    half = out.dtype in (torch.bfloat16, torch.float16)
    step = _STEPS[kind]
    total = inputs[0].float() if half else inputs[0]
    for operand in inputs[1:]:
        total = step(total, operand.float() if half else operand)
    out.copy_(total / len(inputs) if kind == "mean" else total)
