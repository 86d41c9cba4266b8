"""FlashNeuron: the model stays in GPU memory, activations go to an SSD.

Paper: Bae et al., "FlashNeuron: SSD-Enabled Large-Batch Training of Very Deep Neural Networks", FAST 2021; a baseline
of LoHan / Ratel (later versions of Fuyou), figures 2 and 6.
Follows: parameters, gradients and states of Adam in GPU memory, 16 B a parameter; what blocks keep for the backward
pass leaves for the drives straight from the GPU and comes back two blocks ahead; Adam on the GPU.
Differs: every activation that backward reads is offloaded, where the paper chooses among them and compresses.
Checked by: tests/paper/test_fuyou.py, tests/live/test_fuyou.py.
"""

from __future__ import annotations

import numpy as np

from controller.models.training import TrainingStage, activation_kinds, emit_adam, parts
from controller.models.training.recipe import LSE
from controller.models.training_scenario import TrainingScenario
from controller.plan.build import PlanBuilder
from controller.plan.ops import Buffer, Plan, View
from controller.plan.size import symbol
from controller.program.run import Run, TrainingProgram
from controller.strategies.fuyou.array import DriveArray
from controller.strategies.fuyou.groups import elements
from controller.strategies.fuyou.options import chosen_gpus
from controller.strategies.fuyou.report import result_of
from controller.strategies.training.loop import STEPS, token_buffers, train_steps

TURNS = 2
"""Blocks whose activations are on the GPU at once."""


class FlashNeuron:
    """The step of one scenario."""

    def __init__(self, scenario: TrainingScenario) -> None:
        self.scenario, shape, dtype = scenario, scenario.shape, scenario.dtype
        self.gpu, self.array = chosen_gpus(scenario)[0], DriveArray.of(scenario.topology)
        # No gradient needs the output of a block: it is part of the next one's input.
        kinds = [name for name in activation_kinds(shape) if name not in ("x", "ffn_down")]
        self.names = (*kinds, LSE)
        self.stage = TrainingStage(
            shape, self.gpu, batch=scenario.batch, seq=scenario.seq, dtype=dtype, saves=[self.names]
        )
        self.parts, self.layers = parts(shape), shape.layers
        self.masters = self._flat("p32", "fp32")
        self.weights = self.masters if dtype == "fp32" else self._flat("weights", dtype)
        self.gradients, self.momenta = self._flat("gradients", dtype), self._flat("momentum", "fp32")
        self.variances = self._flat("variance", "fp32")
        self.turns = [
            {name: self.stage.activation_buffer(name, f"{name}.{turn}") for name in ("x", *self.names)}
            for turn in range(TURNS)
        ]
        # Nothing that blocks keep of the last one has to leave.
        self.kept = [
            {
                name: self.array.tensor(f"activations.{layer}.{name}", buffer.dtype, _count(buffer))
                for name, buffer in self.turns[0].items()
            }
            for layer in range(self.layers - 1)
        ]
        self.ids, self.targets = token_buffers(scenario, self.gpu)

    def place(self, run: Run) -> None:
        """Allocates everything; parameters with their first values in a live run."""
        weights = self.scenario.weights
        for index, part in enumerate(self.parts):
            content = None if weights is None else part.content(weights.tensor)
            run.place(self.masters[index], content, written=True)
            if self.weights is not self.masters:
                run.place(self.weights[index], content, written=True)
            run.place(self.gradients[index], written=True)
            for moments in (self.momenta, self.variances):
                nothing = None if weights is None else np.zeros(moments[index].shape, np.float32)
                run.place(moments[index], nothing, written=True)
        for turn in self.turns:
            for buffer in turn.values():
                run.place(buffer, written=True)
        for buffer in (*self.stage.buffers, self.ids, self.targets):
            run.place(buffer, written=True)
        for tensors in self.kept:
            for tensor in tensors.values():
                self.array.place(run, tensor)

    def step_plan(self) -> Plan:
        """One step; ``step`` counts from 1 and stays open."""
        build, stage, weights, gradients = PlanBuilder("flashneuron step"), self.stage, self.weights, self.gradients
        self.array.begin()
        stage.embed(build, weights[0], self.ids, self._turn(0)["x"])
        for layer in range(self.layers):
            here = self._turn(layer)
            saved = {name: here[name] for name in self.names}
            stage.forward(build, layer, weights[layer + 1], here["x"], self._turn(layer + 1)["x"], saved)
            if layer < self.layers - 1:
                for name, tensor in self.kept[layer].items():
                    self.array.write(build, tensor, _flat(here[name]), "ssd activations out")
        last = self._turn(self.layers)["x"]
        stage.loss(build, weights[-1], weights[0], last, self.targets, gradients[-1], gradients[0])
        self._back(build, self.layers - 2)
        for layer in reversed(range(self.layers)):
            here = self._turn(layer)
            saved = {name: here[name] for name in self.names}
            stage.backward(build, layer, weights[layer + 1], here["x"], saved, gradients[layer + 1])
            self._back(build, layer - 2)
        stage.embed_backward(build, self.ids, gradients[0])
        for index, gradient in enumerate(gradients):
            copy = None if weights is self.masters else weights[index]
            emit_adam(
                build, self.gpu, self.masters[index], gradient, self.momenta[index], self.variances[index],
                symbol("step"), copy,
            )  # fmt: skip
        return build.plan()

    def _back(self, build: PlanBuilder, layer: int) -> None:
        if layer >= 0:
            for name, tensor in self.kept[layer].items():
                self.array.read(build, tensor, _flat(self._turn(layer)[name]), "ssd activations in")

    def _turn(self, layer: int) -> dict[str, Buffer]:
        return self.turns[layer % TURNS]

    def _flat(self, kind: str, dtype: str) -> list[Buffer]:
        return [part.layout.buffer(self.gpu, "hbm", f"{kind}.{part.name}", dtype) for part in self.parts]


def _count(buffer: Buffer) -> int:
    count = 1
    for extent in buffer.shape:
        count *= extent
    return count


def _flat(buffer: Buffer) -> View:
    return elements(buffer, 0, _count(buffer))


def flashneuron(run: Run, scenario: TrainingScenario) -> TrainingProgram:
    """Training with the model in GPU memory and activations on the drives."""
    model = FlashNeuron(scenario)
    model.place(run)
    losses = yield from train_steps(run, scenario, {STEPS: model.step_plan()}, [model])
    masters = [([place], [part]) for place, part in zip(model.masters, model.parts, strict=True)]
    return (yield from result_of(run, scenario, losses, masters))
