"""The Adam step, of a whole tensor and of one in pieces."""

from __future__ import annotations

from collections.abc import Sequence
from math import sqrt

from torch import Tensor

from node.hardware.operations.attributes import CompleteAttributes


def adam(inputs: Sequence[Tensor], outputs: Sequence[Tensor], attributes: CompleteAttributes) -> None:
    """p fp32 (...), g (...), m fp32 (...), v fp32 (...) -> p, m, v[, copy], in place where an output is its input.

    Weight decay is decoupled from the gradient: p shrinks by ``lr * weight_decay`` before the step.

    Source: Loshchilov and Hutter, "Decoupled Weight Decay Regularization", ICLR 2019, algorithm 2; the order of
    operations is that of ``torch.optim.AdamW``.
    """
    gradient = inputs[1].float()
    for out, old in zip(outputs, (inputs[0], inputs[2], inputs[3]), strict=False):
        if out.data_ptr() != old.data_ptr():
            out.copy_(old)
    p, m, v = outputs[:3]
    lr, beta1, beta2 = attributes.number("lr"), attributes.number("beta1"), attributes.number("beta2")
    step = attributes.integer("step")
    decay = lr * attributes.number("weight_decay")
    if decay:
        p.mul_(1.0 - decay)
    m.lerp_(gradient, 1.0 - beta1)
    v.mul_(beta2).addcmul_(gradient, gradient, value=1.0 - beta2)
    root = (v.sqrt() / sqrt(1.0 - beta2**step)).add_(attributes.number("eps"))
    p.addcdiv_(m, root, value=-lr / (1.0 - beta1**step))
    if len(outputs) == 4:
        outputs[3].copy_(p)


def adam_pieces(inputs: Sequence[Tensor], outputs: Sequence[Tensor], attributes: CompleteAttributes) -> None:
    """`adam` on every piece: p, g, m, v (n) of each -> p, m, v[, copy] of each. Elements do not know each other."""
    each = 4 if len(outputs) == len(inputs) else 3
    for place in range(len(inputs) // 4):
        adam(inputs[4 * place : 4 * place + 4], outputs[each * place : each * place + each], attributes)
