"""Training with everything in the memory of one GPU: what offloading is compared with where it fits.

Paper: mixed-precision training as in ZeRO, Rajbhandari et al., arXiv 1910.02054, section 3.1.
Follows: parameters and gradients in the type of the model, fp32 parameters and both moments of Adam beside them, 16 B
a parameter; every activation that backward reads is kept.
Differs: fused attention keeps its log-sum-exp instead of the weights; no dropout, no loss scaling. ``--save inputs``
keeps only the input of every layer and recomputes the rest.
Checked by: tests/live/test_training.py (losses and parameters against plain torch).
"""

from __future__ import annotations

from controller.errors import BadWorkload
from controller.models.training import TrainingStage, activation_kinds, emit_adam, parts
from controller.models.training_scenario import TrainingScenario
from controller.plan.build import PlanBuilder
from controller.plan.ops import Buffer, Plan
from controller.plan.size import symbol
from controller.program.run import Run, TrainingProgram
from controller.strategies.training.loop import (
    STEPS,
    token_buffers,
    train_steps,
    training_gpus,
    training_result,
)

SAVES = ("all", "inputs")
"""What may be kept of the activations: all that backward reads, or the inputs of the layers."""


class GpuTraining:
    """One model with its states and activations on one GPU."""

    def __init__(self, scenario: TrainingScenario) -> None:
        self.scenario = scenario
        shape, dtype = scenario.shape, scenario.dtype
        save = scenario.options.get("save", SAVES[0])
        if save not in SAVES:
            raise BadWorkload(f"--save is {save!r}; it may be {' or '.join(SAVES)}")
        self.gpu = gpu = training_gpus(scenario)[0]
        # No gradient needs the last output of a layer: it is part of the next one's input.
        kinds = [name for name in activation_kinds(shape) if name not in ("x", "ffn_down")] if save == "all" else []
        kept = (*kinds, "lse") if "attention" in kinds else ()
        self.stage = stage = TrainingStage(
            shape, gpu, batch=scenario.batch, seq=scenario.seq, dtype=dtype, saves=[kept]
        )
        self.parts = parts(shape)
        self.masters = self._buffers("p32", "fp32")
        # Where the model itself is fp32, the fp32 parameters are the model.
        self.weights = self.masters if dtype == "fp32" else self._buffers("weights", dtype)
        self.gradients = self._buffers("gradients", dtype)
        self.momenta, self.variances = self._buffers("momentum", "fp32"), self._buffers("variance", "fp32")
        self.x = [stage.activation_buffer("x", f"x{layer}") for layer in range(shape.layers + 1)]
        self.saved = [
            {name: stage.activation_buffer(name, f"{name}{layer}") for name in kept} for layer in range(shape.layers)
        ]
        self.ids, self.targets = token_buffers(scenario, gpu)

    def place(self, run: Run) -> None:
        """Everything, outside of time; states start at zero."""
        weights = self.scenario.weights
        for index, part in enumerate(self.parts):
            content = None if weights is None else part.content(weights.tensor)
            run.place(self.masters[index], content, written=True)
            if self.weights is not self.masters:
                run.place(self.weights[index], content, written=True)
            for buffers in (self.gradients, self.momenta, self.variances):
                run.place(buffers[index], written=True)
        activations = [*self.x, *(buffer for saved in self.saved for buffer in saved.values())]
        for buffer in (*activations, *self.stage.buffers, self.ids, self.targets):
            run.place(buffer, written=True)

    def step_plan(self) -> Plan:
        """One step; ``step`` counts from 1 and stays open."""
        build, stage, layers = PlanBuilder("train_gpu_only step"), self.stage, range(self.scenario.shape.layers)
        weights, gradients, x = self.weights, self.gradients, self.x
        stage.embed(build, weights[0], self.ids, x[0])
        for layer in layers:
            stage.forward(build, layer, weights[layer + 1], x[layer], x[layer + 1], self.saved[layer])
        stage.loss(build, weights[-1], weights[0], x[-1], self.targets, gradients[-1], gradients[0])
        for layer in reversed(layers):
            stage.backward(build, layer, weights[layer + 1], x[layer], self.saved[layer], gradients[layer + 1])
        stage.embed_backward(build, self.ids, gradients[0])
        for index, gradient in enumerate(gradients):
            copy = None if weights is self.masters else weights[index]
            emit_adam(
                build, self.gpu, self.masters[index], gradient, self.momenta[index], self.variances[index],
                symbol("step"), copy,
            )  # fmt: skip
        return build.plan()

    def _buffers(self, kind: str, dtype: str) -> list[Buffer]:
        return [part.layout.buffer(self.gpu, "hbm", f"{kind}.{part.name}", dtype) for part in self.parts]


def train_gpu_only(run: Run, scenario: TrainingScenario) -> TrainingProgram:
    """Training with everything in the memory of the first GPU."""
    model = GpuTraining(scenario)
    model.place(run)
    losses = yield from train_steps(run, scenario, {STEPS: model.step_plan()}, [model])
    masters = list(zip(model.parts, model.masters, strict=True))
    return (yield from training_result(run, scenario, losses, masters))
