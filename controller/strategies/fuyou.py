"""Fuyou: training with everything on SSDs, whose optimizer works beside the backward pass.

Paper: "Adding NVMe SSDs to Enable and Accelerate 100B Model Fine-tuning on a Single GPU" (Fuyou, arXiv 2403.06504), in
the form of its later version LoHan / Ratel: active gradient offloading (section IV-C), activation swapping (IV-D).
Follows: forward with parameters fetched ahead and activations swapped out; backward in which the gradients of a
sub-group are consumed when they arrive: read its states, Adam on the CPU, write them back. In the optimised order the
read of the next sub-group is asked for before the write of this one; in the naive order the three follow one another;
in the serial order all of them follow the backward pass, as in ZeRO (`controller.offload.drive_optimizer`). One request
list for the drives (`drive_array`).
Differs: no profiling step; the equations are asked with declared rates (`swap_planner`). Gradients of several GPUs are
averaged by the CPU. The activations of the last block stay on the GPU. On two GPUs a published step takes half as long
again as on one, where drives bound both: what takes that is not known, and not modelled.
Checked by: tests/paper/test_fuyou.py, tests/live/test_fuyou.py (losses and parameters against plain PyTorch).
"""

from __future__ import annotations

from dataclasses import dataclass

from controller.models.training import parts
from controller.models.training_scenario import TrainingScenario
from controller.offload.drive_array import DriveArray, Requests
from controller.offload.drive_optimizer import ORDERS, Checkpoint, DriveOptimizer
from controller.offload.passing_gpu import SLOTS, PassingGpu
from controller.offload.scratch import Scratch, plans_of
from controller.offload.streamed import Streamed
from controller.offload.striped import elements
from controller.offload.sub_groups import SUB_GROUP_ELEMENTS
from controller.offload.swap_planner import AUTO, Volume, plan_swaps
from controller.offload.swapped import Swapped
from controller.offload.train import Masters, train
from controller.offload.training_devices import chosen_gpus, host_of
from controller.offload.training_gpu import TrainingGpu
from controller.plan.ops import Buffer, Plan, View
from controller.plan.script import Script
from controller.program.options import Choice, Count, Options, Switch, option
from controller.program.run import Run, TrainingProgram


@dataclass(frozen=True)
class FuyouOptions(Options):
    """What a user may choose."""

    order: Choice = option("optimised", "how reads, Adam and writes of states follow one another", choices=ORDERS)
    swap_activations: Volume = option(AUTO, "volume that leaves each GPU, as '34 GB', or auto for the paper's search")
    spill: Switch = option(True, "whether activations beyond main memory go to the drives")
    gpus: Count | None = option(None, "GPUs that train, each on its own batch", absent="all of the topology")
    sub_group: Count = option(SUB_GROUP_ELEMENTS, "elements of an Adam step, unless a block has more", most=10**15)


class Fuyou:
    """The step of one scenario.

    Attributes:
        parts: of the model: embedding, blocks, head.
        optimizer: states, parameters and gradients outside of the GPUs.
        swaps: what the planner chose.
        first: the step that training resumes at.
    """

    def __init__(self, scenario: TrainingScenario, checkpoint: Checkpoint | None = None) -> None:
        options = FuyouOptions.of(scenario.options)
        drives, host, names = DriveArray.of(scenario.topology), host_of(scenario), chosen_gpus(scenario, options.gpus)
        self.scenario, self.first = scenario, 0 if checkpoint is None else checkpoint.steps
        self.parts, self._layers, self._drives = parts(scenario.shape), scenario.shape.layers, drives
        self.optimizer = DriveOptimizer(
            scenario, drives, host, self.parts, len(names), checkpoint, order=options.order, sub_group=options.sub_group
        )
        largest = max(part.layout.elements for part in self.parts)
        places = (f"staged.{turn}" for turn in range(SLOTS))
        self._staging = [Buffer(host.device, host.tier, place, scenario.dtype, (largest,)) for place in places]
        room = scenario.topology.devices[host.device].spec.tiers[host.tier].capacity_bytes - self.host_bytes
        self.swaps = plan_swaps(
            scenario, names, host.device, drives, self.parts, room,
            spill=options.spill, volume=options.swap_activations,
        )  # fmt: skip
        self._kept = [names[1:] for names in self.swaps.names]
        kept = dict.fromkeys(name for names in self._kept for name in names)
        self._gpus = [PassingGpu(scenario, name, number, self.parts, kept) for number, name in enumerate(names)]
        # The last block begins the backward pass, so that what it keeps stays where it is.
        leaving, spilled = self.swaps.names[:-1], self.swaps.spilled
        self._swapped = [Swapped(gpu, host, leaving, drives, spilled) for gpu in self._gpus]
        self._scratch = Scratch("scratch")

    @property
    def host_bytes(self) -> int:
        """What prefetch and optimizer buffers take of main memory, before any activation [bytes]."""
        return sum(buffer.nbytes for buffer in (*self._staging, *self.optimizer.host_buffers))

    @property
    def gpus(self) -> list[TrainingGpu]:
        return [gpu.batch for gpu in self._gpus]

    def plans(self) -> dict[str, Plan]:
        stages = {"forward": self._forward, "backward": self._backward}
        if self.optimizer.order == "serial":
            stages["optimizer"] = self.optimizer.stage
        scripts = {stage: Script(f"fuyou {stage}", self._scratch) for stage in stages}
        for stage, emit in stages.items():
            emit(scripts[stage], self._drives.requests(scripts[stage]))
        return plans_of(scripts)

    def _forward(self, s: Script, drives: Requests) -> None:
        """Parameters come two parts ahead on the GPU, two more in main memory; activations leave as they are made."""
        head = self._layers + 1
        self._read(drives, head, 0)
        self._upload(s, head, 0)
        uses = [*range(self._layers + 1), 0]  # embedding, blocks, and the embedding again for the logits
        coming = Streamed(
            range(len(uses)),
            lambda turn: self._read(drives, uses[turn], turn),
            lambda turn: self._upload(s, uses[turn], turn, at_loss=turn == len(uses) - 1),
            ahead=SLOTS,
        )
        for turn in coming:
            layer = turn - 1
            for gpu, swapped in zip(self._gpus, self._swapped, strict=True):
                if turn == 0:
                    gpu.embed(s)
                elif layer < self._layers:
                    gpu.forward(s, layer, self._kept[layer])
                    if layer < self._layers - 1:
                        swapped.out(s, layer, drives)

    def _backward(self, s: Script, drives: Requests) -> None:
        """Blocks in descending order; gradients are consumed as they arrive."""
        layers = self._layers
        for layer in (layers - 2, layers - 3):
            self._block_ahead(drives, layer)
        gradients = [gpu.end(s, layers) for gpu in self._gpus]
        self.optimizer.consume(s, drives, layers + 1, self._gpus)
        self._block_back(s, layers - 2)
        for layer in reversed(range(layers)):
            for gpu, gradient in zip(self._gpus, gradients, strict=True):
                gpu.backward(s, layer, gradient, self._kept[layer])
            self._kinds_back(s, layer - 1)
            self._block_back(s, layer - 2)
            self._block_ahead(drives, layer - 3)
            self.optimizer.consume(s, drives, layer + 1, self._gpus)
        for gpu, gradient in zip(self._gpus, gradients, strict=True):
            gpu.embed_backward(s, gradient)
        self.optimizer.consume(s, drives, 0, self._gpus)
        self.optimizer.finish(drives)

    def _read(self, drives: Requests, part: int, turn: int) -> None:
        """Parameters of a part from the drives to main memory."""
        drives.read(self.optimizer.parameters[part], self._staged(part, turn), "ssd parameters in")

    def _upload(self, s: Script, part: int, turn: int, *, at_loss: bool = False) -> None:
        """Parameters of a part from main memory to every GPU."""
        for gpu in self._gpus:
            s.move(self._staged(part, turn), gpu.embedding_at_loss() if at_loss else gpu.weights(part), "parameters in")

    def _staged(self, part: int, turn: int) -> View:
        return elements(self._staging[turn % SLOTS], 0, self.parts[part].layout.elements)

    def _block_ahead(self, drives: Requests, layer: int) -> None:
        """What the backward pass of a block needs comes from the drives to main memory."""
        if layer >= 0:
            for swapped in self._swapped:
                swapped.ahead(drives, layer)
            self._read(drives, layer + 1, layer + 1)

    def _block_back(self, s: Script, layer: int) -> None:
        """Its parameters and its input go on to the GPU, which has room for those of two blocks."""
        if layer >= 0:
            for swapped in self._swapped:
                swapped.back(s, layer, ("x",))
            self._upload(s, layer + 1, layer + 1)

    def _kinds_back(self, s: Script, layer: int) -> None:
        """The other activations of a block, which have one place each, follow when the block before is done."""
        if 0 <= layer < self._layers - 1:
            for swapped in self._swapped:
                swapped.back(s, layer, swapped.names[layer][1:])

    def place(self, run: Run) -> None:
        for gpu in self._gpus:
            gpu.place(run)
        self._scratch.place(run)
        for buffer in self._staging:
            run.place(buffer, written=True)
        self.optimizer.place(run)
        for swapped in self._swapped:
            swapped.place(run)

    def masters(self) -> Masters:
        return self.optimizer.masters()


def fuyou(run: Run, scenario: TrainingScenario) -> TrainingProgram:
    """Training out of core with active gradient offloading."""
    return go_on(run, Fuyou(scenario))


def go_on(run: Run, policy: Fuyou) -> TrainingProgram:
    """The steps of a scenario that are left, from the beginning or from a checkpoint."""
    for name, value in policy.swaps.figures.items():
        run.figure(name, value)
    return train(run, policy.scenario, policy, policy.first)
