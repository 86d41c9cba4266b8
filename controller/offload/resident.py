"""A model with all its states in the memory of one GPU: 16 B a parameter in half precision."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from controller.models.shape import ModelShape
from controller.models.training import parts
from controller.models.training.optimizer import adam
from controller.models.training_scenario import TrainingScenario
from controller.offload.train import Masters
from controller.plan.ops import Buffer
from controller.plan.script import Script
from controller.plan.size import symbol
from controller.program.run import Array, Run

Tensor = Callable[[str], Array]
"""Values of a weight by its canonical name."""


class ResidentModel:
    """Flat buffers for every part of a model: parameters, gradients and both moments of Adam.

    Source: mixed-precision training as in ZeRO, Rajbhandari et al., arXiv 1910.02054, section 3.1.

    Attributes:
        parts: of the model: embedding, layers, head.
        masters: fp32 parameters of each part.
        weights: in the type of the model; where that is fp32, the masters.
        gradients: in the type of the model.
    """

    def __init__(
        self, scenario: TrainingScenario, gpu: str, shape: ModelShape | None = None, tensor: Tensor | None = None
    ) -> None:
        """Names everything.

        Args:
            scenario: of the run.
            gpu: that holds it.
            shape: of what it holds; None for the whole model.
            tensor: first values by canonical name; None for those of the scenario.
        """
        self._gpu, dtype = gpu, scenario.dtype
        weights = scenario.weights
        self._tensor = tensor or (None if weights is None else weights.tensor)
        self.parts = parts(shape or scenario.shape)
        self.masters = self._flat("p32", "fp32")
        self.weights = self.masters if dtype == "fp32" else self._flat("weights", dtype)
        self.gradients = self._flat("gradients", dtype)
        self._moments = self._flat("momentum", "fp32"), self._flat("variance", "fp32")

    def place(self, run: Run) -> None:
        """Everything, outside of time; moments start at zero."""
        for index, part in enumerate(self.parts):
            content = None if self._tensor is None else part.content(self._tensor)
            run.place(self.masters[index], content, written=True)
            if self.weights is not self.masters:
                run.place(self.weights[index], content, written=True)
            run.place(self.gradients[index], written=True)
            for moments in self._moments:
                zeros = None if self._tensor is None else np.zeros(moments[index].shape, np.float32)
                run.place(moments[index], zeros, written=True)

    def adam(self, s: Script) -> None:
        """One Adam step over every part; ``step`` stays open."""
        for index, gradient in enumerate(self.gradients):
            copy = None if self.weights is self.masters else self.weights[index]
            momentum, variance = (moments[index] for moments in self._moments)
            adam(s, self.masters[index], gradient, momentum, variance, symbol("step"), copy)

    def states(self) -> list[Buffer]:
        """What the next step reads: parameters, their fp32 copies and both moments."""
        copies = [] if self.weights is self.masters else self.weights
        return [*self.masters, *copies, *self._moments[0], *self._moments[1]]

    def where(self) -> Masters:
        """Where the fp32 parameters lie."""
        return [([place], [part]) for place, part in zip(self.masters, self.parts, strict=True)]

    def _flat(self, kind: str, dtype: str) -> list[Buffer]:
        return [part.layout.buffer(self._gpu, "hbm", f"{kind}.{part.name}", dtype) for part in self.parts]
