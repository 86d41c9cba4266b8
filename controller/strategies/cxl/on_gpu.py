"""One GPU of CXL-aware fine-tuning: two layers of weights, two of gradients, three inputs of layers, and its copies.

Copies of one direction follow one another in the order of the step, as on a stream. With several GPUs each brings its
part of a layer's weights and sends it to the others, and gathers its part of the gradients (ZeRO-3).
"""

from __future__ import annotations

from collections.abc import Sequence

from controller.models.training import Part, TrainingStage
from controller.models.training_scenario import TrainingScenario
from controller.plan.build import PlanBuilder
from controller.plan.ops import Buffer, View
from controller.plan.ranges import even_ranges
from controller.program.run import Run
from controller.strategies.cxl.spread import Spread
from controller.strategies.training.loop import token_buffers
from node.hardware.operation import ITEM_BYTES

INPUTS = 3
"""Inputs of layers on the GPU: one being read, one being made, one on its way."""


def elements(buffer: Buffer, start: int, stop: int) -> View:
    """Elements of a buffer as one axis."""
    return View(buffer, start * ITEM_BYTES[buffer.dtype], (stop - start,))


class OnGpu:
    """Buffers and copies of one GPU."""

    def __init__(self, scenario: TrainingScenario, device: str, number: int, parts: Sequence[Part], gpus: int) -> None:
        self.device, self.number = device, number
        self._parts, self._gpus = parts, gpus
        shape, dtype = scenario.shape, scenario.dtype
        self.stage = TrainingStage(shape, device, batch=scenario.batch, seq=scenario.seq, dtype=dtype)
        layer = parts[1].layout.elements
        sizes = {"embedding": parts[0].layout.elements, "layer.0": layer, "layer.1": layer}
        sizes["head"] = parts[-1].layout.elements

        def slots(kind: str) -> dict[str, Buffer]:
            return {name: Buffer(device, "hbm", f"{kind}.{name}", dtype, (size,)) for name, size in sizes.items()}

        self._weights, self._gradients = slots("weights"), slots("gradients")
        most = max(stop - start for part in parts for start, stop in even_ranges(part.layout.elements, gpus))
        self._arriving = [
            Buffer(device, "hbm", f"arriving.{other}", dtype, (most,)) for other in range(gpus) if other != number
        ]
        self.inputs = [self.stage.activation_buffer("x", f"x.{place}") for place in range(INPUTS)]
        self.ids, self.targets = token_buffers(scenario, device)
        self._last: dict[str, tuple[int, ...]] = {}

    def place(self, run: Run) -> None:
        """Allocates everything."""
        own = (*self._weights.values(), *self._gradients.values(), *self._arriving, *self.inputs)
        for buffer in (*own, *self.stage.buffers, self.ids, self.targets):
            run.place(buffer, written=True)

    def begin(self) -> None:
        """A new plan begins: its first copies wait for nobody."""
        self._last.clear()

    def weights(self, part: int) -> Buffer:
        """Where the weights of a part lie while they are needed."""
        return self._weights[self._slot(part)]

    def gradients(self, part: int) -> Buffer:
        """Where the gradients of a part lie until they are out."""
        return self._gradients[self._slot(part)]

    def input(self, layer: int) -> Buffer:
        """The input of a layer, or the output of the last one."""
        return self.inputs[layer % INPUTS]

    def part_range(self, part: int) -> tuple[int, int]:
        """The elements of a part that this GPU brings and whose gradients it sends out."""
        return even_ranges(self._parts[part].layout.elements, self._gpus)[self.number]

    def bring(self, build: PlanBuilder, part: int, source: Spread) -> None:
        """This GPU's range of the weights of a part comes from host memory."""
        target = self.weights(part)
        first, last = self.part_range(part)
        self._copies(
            build, "in", "weights in",
            [(view, elements(target, start, stop)) for start, stop, view in source.within(first, last)],
        )  # fmt: skip

    def share(self, build: PlanBuilder, part: int, others: Sequence[OnGpu]) -> None:
        """This GPU's range of the weights goes to the others."""
        first, last = self.part_range(part)
        for other in others:
            if other is not self and first < last:
                build.transfer(
                    elements(self.weights(part), first, last), elements(other.weights(part), first, last),
                    label="weights between gpus",
                )  # fmt: skip

    def gather(self, build: PlanBuilder, part: int, others: Sequence[OnGpu]) -> None:
        """The mean of all GPUs' gradients of this GPU's range replaces its own."""
        first, last = self.part_range(part)
        if self._gpus == 1 or first == last:
            return
        mine, arrived = elements(self.gradients(part), first, last), []
        for other, buffer in zip([gpu for gpu in others if gpu is not self], self._arriving, strict=True):
            there = elements(buffer, 0, last - first)
            build.transfer(elements(other.gradients(part), first, last), there, label="gradients between gpus")
            arrived.append(there)
        build.kernel("reduce", self.device, [mine, *arrived], [mine], kind="mean", label="mean of gradients")

    def send(self, build: PlanBuilder, part: int, target: Spread) -> None:
        """This GPU's range of the gradients of a part goes to host memory."""
        source = self.gradients(part)
        first, last = self.part_range(part)
        self._copies(
            build, "out", "gradients out",
            [(elements(source, start, stop), view) for start, stop, view in target.within(first, last)],
        )  # fmt: skip

    def keep(self, build: PlanBuilder, layer: int, target: Spread) -> None:
        """The input of a layer goes to host memory."""
        source = self.input(layer)
        self._copies(
            build, "out", "checkpoint out",
            [(elements(source, start, stop), view) for start, stop, view in target.within(0, target.elements)],
        )  # fmt: skip

    def restore(self, build: PlanBuilder, layer: int, source: Spread) -> None:
        """The input of a layer comes back."""
        target = self.input(layer)
        self._copies(
            build, "in", "checkpoint in",
            [(view, elements(target, start, stop)) for start, stop, view in source.within(0, source.elements)],
        )  # fmt: skip

    def _copies(self, build: PlanBuilder, stream: str, label: str, moves: Sequence[tuple[View, View]]) -> None:
        """Copies of one tensor, which go together and after those before them on the stream."""
        after = self._last.get(stream, ())
        made = tuple(build.transfer(source, target, after=after, label=label) for source, target in moves)
        self._last[stream] = made or after

    def _slot(self, part: int) -> str:
        if part == 0:
            return "embedding"
        return "head" if part == len(self._parts) - 1 else f"layer.{(part - 1) % 2}"
