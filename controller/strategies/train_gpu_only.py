"""Training with everything in the memory of one GPU: what offloading is compared with where it fits.

Paper: mixed-precision training as in ZeRO, Rajbhandari et al., arXiv 1910.02054, section 3.1.
Follows: parameters and gradients in the type of the model, fp32 parameters and both moments of Adam beside them, 16 B
a parameter; every activation that backward reads is kept.
Differs: fused attention keeps its log-sum-exp instead of the weights; no dropout, no loss scaling. ``--save inputs``
keeps only the input of every layer and recomputes the rest.
Checked by: tests/live/test_training.py (losses and parameters against plain torch).
"""

from __future__ import annotations

from dataclasses import dataclass

from controller.models.training.activations import activation_kinds
from controller.models.training.layer import LSE
from controller.models.training_scenario import TrainingScenario
from controller.offload.resident import ResidentModel
from controller.offload.scratch import Scratch
from controller.offload.train import STEPS, Masters, train
from controller.offload.training_gpu import TrainingGpu
from controller.offload.training_options import training_gpus
from controller.plan.ops import Plan
from controller.plan.script import Script, Source
from controller.program.options import Choice, Options, option
from controller.program.run import Run, TrainingProgram


@dataclass(frozen=True)
class TrainGpuOnlyOptions(Options):
    """What a user may choose."""

    save: Choice = option(
        "all", "activations kept for backward, all that it reads or inputs of the layers", choices=("all", "inputs")
    )


class TrainGpuOnly:
    """One model with its states and activations on one GPU."""

    def __init__(self, scenario: TrainingScenario) -> None:
        save = TrainGpuOnlyOptions.of(scenario.options).save
        gpu = training_gpus(scenario)[0]
        # No gradient needs the last output of a layer: it is part of the next one's input.
        kinds = (name for name in activation_kinds(scenario.shape) if name not in ("x", "ffn_down"))
        self._kept = (*kinds, LSE) if save == "all" else ()
        self._layers, self._scratch = scenario.shape.layers, Scratch("activations")
        self.gpus, self._model = [TrainingGpu(scenario, gpu)], ResidentModel(scenario, gpu)

    def plans(self) -> dict[str, Plan]:
        s, (gpu,), layers = Script("train_gpu_only step", self._scratch), self.gpus, range(self._layers)
        weights, gradients = self._model.weights, self._model.gradients
        kept: list[dict[str, Source]] = []
        x = gpu.embed(s, weights[0])
        for layer in layers:
            before = x
            x, made = gpu.forward(s, layer, weights[layer + 1], x)
            kept.append({"x": before, **{name: made[name] for name in self._kept}})
        gradient = gpu.end(s, x, weights[-1], weights[0], gradients[-1], gradients[0])
        for layer in reversed(layers):
            gpu.backward(s, layer, weights[layer + 1], kept[layer], gradient, gradients[layer + 1])
        gpu.embed_backward(s, gradient, gradients[0])
        self._model.adam(s)
        return {STEPS: s.plan()}

    def place(self, run: Run) -> None:
        self._model.place(run)
        self._scratch.place(run)
        for buffer in self.gpus[0].buffers:
            run.place(buffer, written=True)

    def masters(self) -> Masters:
        return self._model.where()


def train_gpu_only(run: Run, scenario: TrainingScenario) -> TrainingProgram:
    """Training with everything in the memory of the first GPU."""
    return train(run, scenario, TrainGpuOnly(scenario))
