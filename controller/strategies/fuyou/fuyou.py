"""Fuyou: training with everything on SSDs, whose optimizer works beside the backward pass.

Paper: "Adding NVMe SSDs to Enable and Accelerate 100B Model Fine-tuning on a Single GPU" (Fuyou, arXiv 2403.06504), in
the form of its later version LoHan / Ratel: active gradient offloading (section IV-C), activation swapping (IV-D).
Follows: forward with parameters fetched ahead and activations swapped out; backward in which the gradients of a
sub-group are consumed when they arrive: read its states, Adam on the CPU, write them back. In the optimised order the
read of the next sub-group is asked for before the write of this one; in the naive order the three follow one another;
in the serial order all of them follow the backward pass, as in ZeRO. One request list for the drives (`array.py`).
Differs: no profiling step; the equations are asked with declared rates (`sizing.py`). Gradients of several GPUs are
averaged by the CPU. The activations of the last block stay on the GPU.
Checked by: tests/paper/test_fuyou.py, tests/live/test_fuyou.py (losses and parameters against plain PyTorch).
"""

from __future__ import annotations

from collections.abc import Sequence

from controller.models.training import parts
from controller.models.training_scenario import TrainingScenario
from controller.offload.training_options import chosen_gpus, host_of
from controller.plan.build import PlanBuilder
from controller.plan.ops import Buffer, Plan, View
from controller.program.run import Run, TrainingProgram
from controller.strategies.fuyou.array import DriveArray
from controller.strategies.fuyou.groups import elements
from controller.strategies.fuyou.on_gpu import SLOTS, OnGpu
from controller.strategies.fuyou.optimizer import Checkpoint, Optimizer
from controller.strategies.fuyou.options import FuyouOptions
from controller.strategies.fuyou.report import result_of
from controller.strategies.fuyou.sizing import plan_swaps
from controller.strategies.fuyou.swap import Swapped
from controller.strategies.training.loop import train_steps


class Fuyou:
    """The step of one scenario.

    Attributes:
        scenario: as given.
        checkpoint: where it goes on, None for the beginning.
        parts: of the model: embedding, blocks, head.
        optimizer: states, parameters and gradients outside of the GPUs.
        swaps: what the planner chose.
        gpus: that train.
    """

    def __init__(self, scenario: TrainingScenario, checkpoint: Checkpoint | None = None) -> None:
        options = FuyouOptions.of(scenario.options)
        self.scenario, self.checkpoint, dtype = scenario, checkpoint, scenario.dtype
        self.array, host, names = (
            DriveArray.of(scenario.topology),
            host_of(scenario).device,
            chosen_gpus(scenario, options.gpus),
        )
        self.parts, self.layers = parts(scenario.shape), scenario.shape.layers
        self.optimizer = Optimizer(scenario, self.array, host, self.parts, len(names), checkpoint)
        largest = max(part.layout.elements for part in self.parts)
        self._staging = [Buffer(host, "dram", f"staged.{turn}", dtype, (largest,)) for turn in range(SLOTS)]
        room = scenario.topology.devices[host].spec.tiers["dram"].capacity_bytes - self.host_bytes
        spill = options.spill
        self.swaps = plan_swaps(scenario, names, host, self.array, self.parts, room, spill)
        self._kept = [names[1:] for names in self.swaps.names]
        saves = tuple(dict.fromkeys(self._kept))
        self.gpus = [OnGpu(scenario, name, number, self.parts, saves) for number, name in enumerate(names)]
        # The last block begins the backward pass, so that what it keeps stays where it is.
        leaving = self.swaps.names[:-1]
        self.swapped = [Swapped(gpu, host, self.array, leaving, self.swaps.spilled) for gpu in self.gpus]

    @property
    def host_bytes(self) -> int:
        """What prefetch and optimizer buffers take of main memory, before any activation [bytes]."""
        return sum(buffer.nbytes for buffer in (*self._staging, *self.optimizer.host_buffers))

    def plans(self) -> dict[str, Plan]:
        """The plans of a step by phase, in order."""
        found = {"forward": self._forward_plan(), "backward": self._backward_plan()}
        return found | ({"optimizer": self._optimizer_plan()} if self.optimizer.order == "serial" else {})

    def place(self, run: Run) -> None:
        """Allocates everything; parameters and states with their first values in a live run."""
        for gpu in self.gpus:
            gpu.place(run)
        for buffer in self._staging:
            run.place(buffer, written=True)
        self.optimizer.place(run)
        for swapped in self.swapped:
            swapped.place(run)

    # -- the step ------------------------------------------------------------------------------------------------------

    def _forward_plan(self) -> Plan:
        """Parameters come two parts ahead on the GPU, two more in main memory; activations leave as they are made."""
        build, head = self._begin("forward"), len(self.parts) - 1
        turns = [*range(self.layers + 1), 0]  # embedding, blocks, and the embedding again for the logits
        self._read(build, head, 0)
        self._upload(build, head, 0)
        for turn in range(SLOTS):
            self._read(build, turns[turn], turn)
        for turn in range(SLOTS):
            self._next(build, turns, turn)
        for gpu in self.gpus:
            gpu.embed(build)
        self._next(build, turns, SLOTS)
        for layer in range(self.layers):
            for gpu, swapped in zip(self.gpus, self.swapped, strict=True):
                gpu.forward(build, layer, self._kept[layer])
                if layer < self.layers - 1:
                    swapped.out(build, layer)
            self._next(build, turns, layer + 1 + SLOTS)
        return build.plan()

    def _backward_plan(self) -> Plan:
        """Blocks in descending order; gradients are consumed as they arrive."""
        build, head = self._begin("backward"), len(self.parts) - 1
        for layer in (self.layers - 2, self.layers - 3):
            self._block_ahead(build, layer)
        for gpu in self.gpus:
            gpu.loss(build, self.layers)
        self.optimizer.consume(build, head, self.gpus)
        self._block_back(build, self.layers - 2)
        for layer in reversed(range(self.layers)):
            for gpu in self.gpus:
                gpu.backward(build, layer, self._kept[layer])
            self._kinds_back(build, layer - 1)
            self._block_back(build, layer - 2)
            self._block_ahead(build, layer - 3)
            self.optimizer.consume(build, layer + 1, self.gpus)
        for gpu in self.gpus:
            gpu.embed_backward(build)
        self.optimizer.consume(build, 0, self.gpus)
        self.optimizer.finish(build)
        return build.plan()

    def _optimizer_plan(self) -> Plan:
        build = self._begin("optimizer")
        self.optimizer.stage(build)
        self.optimizer.finish(build)
        return build.plan()

    # -- parameters and activations on their way -----------------------------------------------------------------------

    def _begin(self, name: str) -> PlanBuilder:
        self.array.begin()
        return PlanBuilder(f"fuyou {name}")

    def _next(self, build: PlanBuilder, turns: Sequence[int], turn: int) -> None:
        """The parameters of a turn go on to the GPUs, and those of a later one come to main memory in their place."""
        if turn < len(turns):
            self._upload(build, turns[turn], turn, at_loss=turn == len(turns) - 1)
        if turn + SLOTS < len(turns):
            self._read(build, turns[turn + SLOTS], turn + SLOTS)

    def _read(self, build: PlanBuilder, part: int, turn: int) -> None:
        """Parameters of a part from the drives to main memory."""
        self.array.read(build, self.optimizer.parameters[part], self._staged(part, turn), "ssd parameters in")

    def _upload(self, build: PlanBuilder, part: int, turn: int, *, at_loss: bool = False) -> None:
        """Parameters of a part from main memory to every GPU."""
        for gpu in self.gpus:
            target = gpu.embedding_at_loss() if at_loss else gpu.weights(part)
            build.transfer(self._staged(part, turn), target, label="parameters in")

    def _staged(self, part: int, turn: int) -> View:
        return elements(self._staging[turn % SLOTS], 0, self.parts[part].layout.elements)

    def _block_ahead(self, build: PlanBuilder, layer: int) -> None:
        """What the backward pass of a block needs comes from the drives to main memory."""
        if layer >= 0:
            for swapped in self.swapped:
                swapped.ahead(build, layer)
            self._read(build, layer + 1, layer + 1)

    def _block_back(self, build: PlanBuilder, layer: int) -> None:
        """Its parameters and its input go on to the GPU, which has room for those of two blocks."""
        if layer >= 0:
            for swapped in self.swapped:
                swapped.back(build, layer, ("x",))
            self._upload(build, layer + 1, layer + 1)

    def _kinds_back(self, build: PlanBuilder, layer: int) -> None:
        """The other activations of a block, which have one place each, follow when the block before is done."""
        if 0 <= layer < self.layers - 1:
            for swapped in self.swapped:
                swapped.back(build, layer, swapped.names[layer][1:])


def fuyou(run: Run, scenario: TrainingScenario) -> TrainingProgram:
    """Training out of core with active gradient offloading."""
    return train(run, Fuyou(scenario))


def train(run: Run, model: Fuyou) -> TrainingProgram:
    """The steps of a scenario that are left, from the beginning or from a checkpoint."""
    scenario, first = model.scenario, 0 if model.checkpoint is None else model.checkpoint.steps
    model.place(run)
    losses = yield from train_steps(run, scenario, model.plans(), model.gpus, first)
    choice = model.swaps.choice
    run.figure("swapped_bytes", choice.swapped_bytes)
    run.figure("spilled_blocks", model.swaps.spilled)
    run.figure("recompute_flop", choice.recompute_flop)
    run.figure("predicted_s", choice.predicted.iteration_s)
    return (yield from result_of(run, scenario, losses, model.optimizer.masters(), len(model.gpus)))
