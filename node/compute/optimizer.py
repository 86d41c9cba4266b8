"""The Adam step."""

from __future__ import annotations

from collections.abc import Sequence
from math import sqrt

from torch import Tensor

from node.hardware.operations.attributes import CompleteAttributes


def adam(inputs: Sequence[Tensor], outputs: Sequence[Tensor], attributes: CompleteAttributes) -> None:
    """p fp32 (...), g (...), m fp32 (...), v fp32 (...) -> p, m, v, in place where an output is its input.

    Weight decay is decoupled from the gradient: p shrinks by ``lr * weight_decay`` before the step.

    Source: Loshchilov and Hutter, "Decoupled Weight Decay Regularization", ICLR 2019, algorithm 2; the order of
    operations is that of ``torch.optim.AdamW``.
    """
    gradient = inputs[1].float()
    for out, old in zip(outputs, (inputs[0], inputs[2], inputs[3]), strict=True):
        if out.data_ptr() != old.data_ptr():
            out.copy_(old)
    p, m, v = outputs
    lr, beta1, beta2 = attributes.number("lr"), attributes.number("beta1"), attributes.number("beta2")
    step = attributes.integer("step")
    decay = lr * attributes.number("weight_decay")
    if decay:
        p.mul_(1.0 - decay)
    m.lerp_(gradient, 1.0 - beta1)
    v.mul_(beta2).addcmul_(gradient, gradient, value=1.0 - beta2)
    root = (v.sqrt() / sqrt(1.0 - beta2**step)).add_(attributes.number("eps"))
    p.addcdiv_(m, root, value=-lr / (1.0 - beta1**step))
