"""FlashNeuron: the model stays in GPU memory, activations go to an SSD.

Paper: Bae et al., "FlashNeuron: SSD-Enabled Large-Batch Training of Very Deep Neural Networks", FAST 2021; a baseline
of LoHan / Ratel (later versions of Fuyou), figures 2 and 6.
Follows: parameters, gradients and states of Adam in GPU memory, 16 B a parameter; what blocks keep for the backward
pass leaves for the drives straight from the GPU and comes back two blocks ahead; Adam on the GPU.
Differs: every activation that backward reads is offloaded, where the paper chooses among them and compresses.
Checked by: tests/paper/test_fuyou.py, tests/live/test_fuyou.py.
"""

from __future__ import annotations

from math import prod

from controller.models.training.activations import activation_kinds
from controller.models.training.layer import LSE
from controller.models.training_scenario import TrainingScenario
from controller.offload.drive_array import DriveArray
from controller.offload.resident import ResidentModel
from controller.offload.scratch import Scratch
from controller.offload.streamed import Streamed
from controller.offload.striped import Striped
from controller.offload.train import STEPS, Masters, train
from controller.offload.training_devices import chosen_gpus
from controller.offload.training_gpu import TrainingGpu
from controller.plan.ops import Buffer, Plan
from controller.plan.script import Script
from controller.program.run import Run, TrainingProgram

TURNS = 2
"""Blocks whose activations are on the GPU at once."""


class FlashNeuron:
    """The step of one scenario."""

    def __init__(self, scenario: TrainingScenario) -> None:
        gpu, self._drives = chosen_gpus(scenario)[0], DriveArray.of(scenario.topology)
        self._model, self.gpus = ResidentModel(scenario, gpu), [TrainingGpu(scenario, gpu)]
        # No gradient needs the output of a block: it is part of the next one's input.
        kinds = (name for name in activation_kinds(scenario.shape) if name not in ("x", "ffn_down"))
        self._names, self._layers, self._scratch = (*kinds, LSE), scenario.shape.layers, Scratch("scratch")
        self._turns = [
            {name: self.gpus[0].activation(name, f"{name}.{turn}") for name in ("x", *self._names)}
            for turn in range(TURNS)
        ]
        # Nothing that the last block keeps has to leave.
        self._on_drives = [
            {
                name: self._drives.tensor(f"activations.{layer}.{name}", buffer.dtype, prod(buffer.shape))
                for name, buffer in self._turns[0].items()
            }
            for layer in range(self._layers - 1)
        ]

    def plans(self) -> dict[str, Plan]:
        s, (gpu,), layers = Script("flashneuron step", self._scratch), self.gpus, range(self._layers)
        drives, weights, gradients = self._drives.requests(s), self._model.weights, self._model.gradients
        gpu.embed(s, weights[0], self._turn(0)["x"].view())
        for layer in layers:
            here = self._turn(layer)
            gpu.forward(s, layer, weights[layer + 1], here["x"], self._turn(layer + 1)["x"], here)
            for name, tensor in self._left(layer).items():
                drives.write(tensor, here[name], "ssd activations out")
        last = self._turn(self._layers)["x"].view()
        gradient = gpu.end(s, last, weights[-1], weights[0], gradients[-1], gradients[0])

        def bring(layer: int) -> None:
            for name, tensor in self._left(layer).items():
                drives.read(tensor, self._turn(layer)[name], "ssd activations in")

        for layer in Streamed(layers[::-1], bring, ahead=TURNS):
            gpu.backward(s, layer, weights[layer + 1], self._turn(layer), gradient, gradients[layer + 1])
        gpu.embed_backward(s, gradient, gradients[0])
        self._model.adam(s)
        return {STEPS: s.plan()}

    def place(self, run: Run) -> None:
        self._model.place(run)
        own = (buffer for turn in self._turns for buffer in turn.values())
        for buffer in (*own, *self.gpus[0].buffers):
            run.place(buffer, written=True)
        self._scratch.place(run)
        for tensors in self._on_drives:
            for tensor in tensors.values():
                tensor.place(run)

    def masters(self) -> Masters:
        return self._model.where()

    def _turn(self, layer: int) -> dict[str, Buffer]:
        """Places of the input and of what a block keeps; blocks take turns."""
        return self._turns[layer % TURNS]

    def _left(self, layer: int) -> dict[str, Striped]:
        """What a block keeps on the drives, by name."""
        return self._on_drives[layer] if layer < len(self._on_drives) else {}


def flashneuron(run: Run, scenario: TrainingScenario) -> TrainingProgram:
    """Training with the model in GPU memory and activations on the drives."""
    return train(run, scenario, FlashNeuron(scenario))
