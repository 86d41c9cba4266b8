"""A GPU on which only the working layers of a model lie; everything else is elsewhere."""

from __future__ import annotations

from collections.abc import Sequence

from controller.models.training import Part
from controller.models.training_scenario import TrainingScenario
from controller.offload.training_gpu import TrainingGpu
from controller.plan.ops import Buffer, View
from controller.plan.ranges import even_ranges

INPUTS = 3
"""Inputs of layers on a GPU: one being read, one being made, one on its way."""


class WorkingLayers:
    """Both ends, two layers of weights, two of gradients, three inputs of layers.

    Attributes:
        device: the GPU.
        number: among the GPUs of the run.
        batch: what it trains on.
        arriving: places for the gradients of its share from each other GPU.
        buffers: everything that must be placed, beside the arenas of scripts.
    """

    def __init__(self, scenario: TrainingScenario, device: str, number: int, whole: Sequence[Part], gpus: int) -> None:
        self.device, self.number, self._last = device, number, len(whole) - 1
        self.batch = TrainingGpu(scenario, device, number)
        places = {"embedding": whole[0], "layer.0": whole[1], "layer.1": whole[1], "head": whole[-1]}
        self._weights, self._gradients = (
            {name: part.layout.buffer(device, "hbm", f"{kind}.{name}", scenario.dtype) for name, part in places.items()}
            for kind in ("weights", "gradients")
        )
        self._shares = [even_ranges(part.layout.elements, gpus)[number] for part in whole]
        most = max(even_ranges(part.layout.elements, gpus)[0][1] for part in whole)
        self.arriving = [
            Buffer(device, "hbm", f"arriving.{other}", scenario.dtype, (most,))
            for other in range(gpus)
            if other != number
        ]
        self._inputs = [self.batch.activation("x", f"x.{place}") for place in range(INPUTS)]
        self.buffers = (
            *self._weights.values(), *self._gradients.values(), *self.arriving, *self._inputs, *self.batch.buffers,
        )  # fmt: skip

    def weights(self, part: int) -> Buffer:
        """Where the weights of a part are while they are needed."""
        return self._weights[self._place(part)]

    def gradients(self, part: int) -> Buffer:
        """Where the gradients of a part are until they have left."""
        return self._gradients[self._place(part)]

    def input(self, layer: int) -> View:
        """The input of a layer, or the output of the last one."""
        return self._inputs[layer % INPUTS].view()

    def share(self, part: int) -> tuple[int, int]:
        """First element and end of what this GPU brings, and gathers, of a part."""
        return self._shares[part]

    def _place(self, part: int) -> str:
        return "embedding" if part == 0 else "head" if part == self._last else f"layer.{(part - 1) % 2}"
