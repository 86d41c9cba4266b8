"""Fine-tuning with everything but the working layers in host memory: DRAM, CXL cards, or both.

Paper: Liaw, Chen, 'Analysis and Optimized CXL-Attached Memory Allocation for Long-Context LLM Fine-Tuning',
arXiv 2507.03305; the authors' code on DeepSpeed ZeRO-3 with parameters and optimizer offloaded to the CPU.
Follows: the seven tensor groups and their placements (`placement.py`); forward with weights in and checkpoints out;
backward with weights and checkpoints in, layers recomputed and gradients out into the compute gradients, from which
the CPU makes fp32 master gradients; then Adam on the CPU, one parameter tensor at a time, over fp32 states, with new
compute weights. Cards are memory of the CPU: Adam loads and stores on them where its tensors lie
(`controller.topology.load_store`), and GPUs copy from and to them past the CPU.
Differs: weights come one layer ahead (the authors: a bucket of 5e8 elements). With several GPUs a layer's weights and
gradients pass between them directly, not by NCCL.
Operands of a training step come from memory: between two uses of a tensor the whole model passes, so that neither the
optimizer nor the copies of GPUs find anything in the cache of the host.
Checked by: tests/live/test_cxl.py (losses and parameters against plain torch), tests/paper/test_cxl.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np

from controller.models.training import ADAM, parts
from controller.models.training_scenario import TrainingScenario
from controller.offload.training_options import chosen_gpus
from controller.plan.build import PlanBuilder
from controller.plan.ops import Plan, View
from controller.plan.size import symbol
from controller.program.results import TrainingResult
from controller.program.run import Content, Run, TrainingProgram
from controller.strategies.cxl.memory import HostMemory
from controller.strategies.cxl.on_gpu import OnGpu
from controller.strategies.cxl.options import CxlFinetuneOptions
from controller.strategies.cxl.spread import common_pieces
from controller.strategies.training.loop import train_steps
from node.hardware.units import format_quantity


class CxlFinetune:
    """The step of one scenario."""

    def __init__(self, scenario: TrainingScenario) -> None:
        self.scenario = scenario
        self.parts, self.layers = parts(scenario.shape), scenario.shape.layers
        names = chosen_gpus(scenario, CxlFinetuneOptions.of(scenario.options).gpus)
        self.memory = HostMemory(scenario, self.parts, len(names))
        self.gpus = [OnGpu(scenario, name, number, self.parts, len(names)) for number, name in enumerate(names)]

    def place(self, run: Run) -> None:
        """Allocates everything; weights with their first values in a live run, states at zero."""
        weights = self.scenario.weights
        for name, spreads in self.memory.parts.items():
            for part, spread in zip(self.parts, spreads, strict=True):
                content: Content = None
                if weights is not None and name in ("master_weights", "compute_weights"):
                    content = part.content(weights.tensor)
                elif weights is not None and name in ("momentum", "variance"):
                    content = np.zeros(spread.elements, np.float32)
                spread.place(run, content)
        for checkpoints in self.memory.checkpoints:
            for spread in checkpoints:
                spread.place(run)
        for gpu in self.gpus:
            gpu.place(run)

    def plans(self) -> dict[str, Plan]:
        """The three plans of a step by phase, in order."""
        return {"forward": self._forward(), "backward": self._backward(), "optimizer": self._optimizer()}

    def _forward(self) -> Plan:
        build = self._begin("forward")
        for part in range(3):
            self._bring(build, part)
        for gpu in self.gpus:
            gpu.stage.embed(build, gpu.weights(0), gpu.ids, gpu.input(0))
        for layer in range(self.layers):
            for gpu in self.gpus:
                gpu.keep(build, layer, self.memory.checkpoints[gpu.number][layer])
                gpu.stage.forward(build, layer, gpu.weights(layer + 1), gpu.input(layer), gpu.input(layer + 1))
            if layer + 2 < self.layers:
                self._bring(build, layer + 3)
        return build.plan()

    def _backward(self) -> Plan:
        build = self._begin("backward")
        last = len(self.parts) - 1
        if self.scenario.shape.tie_word_embeddings:
            self._bring(build, 0)
        self._bring(build, last)
        for layer in (self.layers - 1, self.layers - 2):
            self._return(build, layer)
        for gpu in self.gpus:
            gpu.stage.loss(
                build, gpu.weights(last), gpu.weights(0), gpu.input(self.layers), gpu.targets, gpu.gradients(last),
                gpu.gradients(0),
            )  # fmt: skip
        self._send(build, last)
        for layer in reversed(range(self.layers)):
            for gpu in self.gpus:
                gpu.stage.backward(build, layer, gpu.weights(layer + 1), gpu.input(layer), {}, gpu.gradients(layer + 1))
            self._return(build, layer - 2)
            self._send(build, layer + 1)
        for gpu in self.gpus:
            gpu.stage.embed_backward(build, gpu.ids, gpu.gradients(0))
        self._send(build, 0)
        return build.plan()

    def _optimizer(self) -> Plan:
        """One parameter tensor after the other, each by all cores over all of its pieces at once."""
        build = self._begin("optimizer")
        spreads = [self.memory.parts[name] for name in ("master_weights", "master_gradients", "momentum", "variance")]
        settings = ADAM.attributes(symbol("step"))
        for number, part in enumerate(self.parts):
            tensors = [spread[number] for spread in (*spreads, self.memory.parts["compute_weights"])]
            for name, extents in part.layout.shapes.items():
                start = part.layout.starts[name]
                inputs: list[View] = []
                outputs: list[View] = []
                for p, g, m, v, copy in common_pieces(start, start + prod(extents), tensors):
                    inputs += [p, g, m, v]
                    outputs += [p, m, v, copy]
                build.kernel("adam_pieces", self.memory.cpu, inputs, outputs, label="adam", **settings)
        return build.plan()

    def _begin(self, name: str) -> PlanBuilder:
        for gpu in self.gpus:
            gpu.begin()
        return PlanBuilder(f"cxl_finetune {name}")

    def _bring(self, build: PlanBuilder, part: int) -> None:
        """Weights of a part to every GPU."""
        if part >= len(self.parts) - 1 and build.name.endswith("forward"):
            return  # the head is needed in the backward pass, which begins with the loss
        for gpu in self.gpus:
            gpu.bring(build, part, self.memory.parts["compute_weights"][part])
        for gpu in self.gpus:
            gpu.share(build, part, self.gpus)

    def _return(self, build: PlanBuilder, layer: int) -> None:
        """What the backward pass of a layer needs: its weights and its input."""
        if layer < 0:
            return
        self._bring(build, layer + 1)
        for gpu in self.gpus:
            gpu.restore(build, layer, self.memory.checkpoints[gpu.number][layer])

    def _send(self, build: PlanBuilder, part: int) -> None:
        """Gradients of a part to host memory, and there into the fp32 master gradients."""
        target = self.memory.parts["compute_gradients"][part]
        for gpu in self.gpus:
            gpu.gather(build, part, self.gpus)
            gpu.send(build, part, target)
        master = self.memory.parts["master_gradients"][part]
        for source, into in common_pieces(0, target.elements, (target, master)):
            build.kernel("cast", self.memory.cpu, [source], [into], label="master gradients")


def _report_placement(run: Run, memory: HostMemory) -> None:
    """Where every group lies: bytes for programs, shares for people."""
    planned = memory.planned_bytes()
    run.figure("placement", planned)
    for group, there in planned.items():
        total = sum(there.values())
        shares = ", ".join(f"{node} {size / total:.1%}" for node, size in there.items() if size)
        run.figure(group, f"{format_quantity(float(f'{total:.4g}'), 'bytes/s').removesuffix('/s')}: {shares}")


def _result(run: Run, model: CxlFinetune, losses: Sequence[float | None]) -> TrainingProgram:
    scenario, gpus = model.scenario, len(model.gpus)
    trained_tokens = scenario.tokens * scenario.steps * gpus
    if not run.live:
        return TrainingResult(trained_tokens, gpus)
    named: dict[str, Any] = {}
    for part, spread in zip(model.parts, model.memory.parts["master_weights"], strict=True):
        values = []
        for _, _, view in spread.within(0, spread.elements):
            values.append(np.asarray((yield run.fetch(view))).reshape(-1))
        named |= part.named(np.concatenate(values))
    return TrainingResult(trained_tokens, gpus, None, [loss for loss in losses if loss is not None], named)


def cxl_finetune(run: Run, scenario: TrainingScenario) -> TrainingProgram:
    """Fine-tuning with states, weights and checkpoints in DRAM and on CXL cards."""
    model = CxlFinetune(scenario)
    _report_placement(run, model.memory)
    model.place(run)
    losses = yield from train_steps(run, scenario, model.plans(), model.gpus)
    return (yield from _result(run, model, losses))
