"""The Adam step of training runs: settings that every strategy and the plain reference share, and its kernel."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from controller.plan.build import Operand
from controller.plan.script import Script
from controller.plan.size import Size


@dataclass(frozen=True, slots=True)
class AdamSettings:
    """Settings of AdamW.

    Attributes:
        lr: learning rate.
        beta1, beta2: decay of the two moments.
        eps: added to the root of the second moment. Larger than usual: where a gradient is 0 but for rounding (that
            of the bias of k), Adam would turn the rest into whole steps, each way of adding into its own.
        weight_decay: decoupled; 0 for plain Adam.
    """

    lr: float = 1e-4
    beta1: float = 0.9
    beta2: float = 0.999
    eps: float = 1e-5
    weight_decay: float = 0.0

    def attributes(self, step: Size) -> dict[str, Any]:
        """Attributes of the ``adam`` operation; `step` counts from 1 and may be open."""
        return {
            "lr": self.lr,
            "beta1": self.beta1,
            "beta2": self.beta2,
            "eps": self.eps,
            "weight_decay": self.weight_decay,
            "step": step,
        }


ADAM = AdamSettings()
"""Of every training run, live ones too."""


def adam(
    s: Script,
    parameters: Operand,
    gradients: Operand,
    momentum: Operand,
    variance: Operand,
    step: Size,
    copy: Operand | None = None,
    *,
    settings: AdamSettings = ADAM,
) -> None:
    """One Adam step in place, over flat tensors of one shape, on the device where they lie (a CPU or a GPU).

    Args:
        s: takes the op.
        parameters, momentum, variance: fp32, replaced.
        gradients: fp32, bf16 or fp16.
        step: number of the step from 1; may be open (`controller.plan.size.symbol`), bound when the plan is submitted.
        copy: where the new parameters go in the type of the model as well.
        settings: of Adam.
    """
    states = (parameters, momentum, variance)
    out = states if copy is None else (*states, copy)
    s.op("adam", parameters, gradients, momentum, variance, out=out, **settings.attributes(step))
