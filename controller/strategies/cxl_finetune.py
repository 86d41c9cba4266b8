"""Fine-tuning with everything but the working layers in host memory: DRAM, CXL cards, or both.

Paper: Liaw, Chen, 'Analysis and Optimized CXL-Attached Memory Allocation for Long-Context LLM Fine-Tuning',
arXiv 2507.03305; the authors' code on DeepSpeed ZeRO-3 with parameters and optimizer offloaded to the CPU.
Follows: the seven tensor groups (`controller.offload.host_memory`) and their placements (`group_placement`); forward
with weights in and checkpoints out; backward with weights and checkpoints in, layers recomputed and gradients out into
the compute gradients, from which the CPU makes fp32 master gradients; then Adam on the CPU, one parameter tensor at a
time, over fp32 states, with new compute weights. Cards are memory of the CPU: Adam loads and stores on them where its
tensors lie (`controller.topology.load_store`), and GPUs copy from and to them past the CPU.
Differs: weights come one layer ahead (the authors: a bucket of 5e8 elements). With several GPUs each brings its part of
a layer's weights and sends it to the others, and gathers its part of the gradients (ZeRO-3), directly and not by NCCL.
Operands of a training step come from memory: between two uses of a tensor the whole model passes, so that neither the
optimizer nor the copies of GPUs find anything in the cache of the host.
Checked by: tests/live/test_cxl.py (losses and parameters against plain torch), tests/paper/test_cxl.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

from controller.models.training import ADAM, parts
from controller.models.training_scenario import TrainingScenario
from controller.offload.copy_stream import CopyStream
from controller.offload.host_memory import HostMemory, HostMemoryOptions
from controller.offload.scratch import Scratch, plans_of
from controller.offload.streamed import Streamed
from controller.offload.striped import Striped, common_pieces, elements
from controller.offload.sub_groups import content
from controller.offload.train import Masters, train
from controller.offload.training_devices import chosen_gpus
from controller.offload.training_gpu import TrainingGpu
from controller.offload.working_layers import WorkingLayers
from controller.plan.ops import Buffer, Plan, View
from controller.plan.script import Script
from controller.plan.size import symbol
from controller.program.options import Count, option
from controller.program.run import Run, TrainingProgram
from node.hardware.units import format_bytes


@dataclass(frozen=True)
class CxlFinetuneOptions(HostMemoryOptions):
    """What a user may choose."""

    gpus: Count | None = option(None, "GPUs that train, each on its own batch", absent="all of the topology")


class CxlFinetune:
    """The step of one scenario."""

    def __init__(self, scenario: TrainingScenario) -> None:
        self._scenario, self._tied = scenario, scenario.shape.tie_word_embeddings
        options = CxlFinetuneOptions.of(scenario.options)
        names, self.parts = chosen_gpus(scenario, options.gpus), parts(scenario.shape)
        self.memory = HostMemory(scenario, self.parts, len(names), options)
        self._layers, self._scratch = scenario.shape.layers, Scratch("scratch")
        self._gpus = [
            WorkingLayers(scenario, name, number, self.parts, len(names)) for number, name in enumerate(names)
        ]

    @property
    def gpus(self) -> list[TrainingGpu]:
        return [gpu.batch for gpu in self._gpus]

    def plans(self) -> dict[str, Plan]:
        stages = {"forward": self._forward, "backward": self._backward, "optimizer": self._optimizer}
        scripts = {stage: Script(f"cxl_finetune {stage}", self._scratch) for stage in stages}
        for stage, emit in stages.items():
            emit(scripts[stage])
        return plans_of(scripts)

    def _forward(self, s: Script) -> None:
        arriving, leaving = self._streams(s), self._streams(s)
        self._bring(s, arriving, 0)
        layers = Streamed(range(self._layers), lambda layer: self._bring(s, arriving, layer + 1))
        for gpu in self._gpus:
            gpu.batch.embed(s, gpu.weights(0), gpu.input(0))
        for layer in layers:
            for gpu in self._gpus:
                checkpoint = self.memory.checkpoints[gpu.number][layer]
                leaving[gpu.number].copy(_pieces(gpu.input(layer), checkpoint), "checkpoint out")
                gpu.batch.forward(s, layer, gpu.weights(layer + 1), gpu.input(layer), gpu.input(layer + 1))

    def _backward(self, s: Script) -> None:
        arriving, leaving, last = self._streams(s), self._streams(s), self._layers + 1
        for part in (0, last) if self._tied else (last,):
            self._bring(s, arriving, part)

        def bring(layer: int) -> None:
            self._bring(s, arriving, layer + 1)
            for gpu in self._gpus:
                checkpoint = self.memory.checkpoints[gpu.number][layer]
                moves = ((view, here) for here, view in _pieces(gpu.input(layer), checkpoint))
                arriving[gpu.number].copy(moves, "checkpoint in")

        layers = Streamed(range(self._layers)[::-1], bring, back=lambda layer: self._send(s, leaving, layer + 1))
        gradients = [
            gpu.batch.end(
                s, gpu.input(self._layers), gpu.weights(last), gpu.weights(0), gpu.gradients(last), gpu.gradients(0)
            )
            for gpu in self._gpus
        ]
        self._send(s, leaving, last)
        for layer in layers:
            for gpu, gradient in zip(self._gpus, gradients, strict=True):
                there = {"x": gpu.input(layer)}
                gpu.batch.backward(s, layer, gpu.weights(layer + 1), there, gradient, gpu.gradients(layer + 1))
        for gpu, gradient in zip(self._gpus, gradients, strict=True):
            gpu.batch.embed_backward(s, gradient, gpu.gradients(0))
        self._send(s, leaving, 0)

    def _optimizer(self, s: Script) -> None:
        """One parameter tensor after the other, each by all cores over all of its pieces at once."""
        names = ("master_weights", "master_gradients", "momentum", "variance", "compute_weights")
        settings = ADAM.attributes(symbol("step"))
        for number, part in enumerate(self.parts):
            tensors = [self.memory.parts[name][number] for name in names]
            for name, extents in part.layout.shapes.items():
                start = part.layout.starts[name]
                pieces = list(common_pieces(start, start + prod(extents), tensors))
                inputs = [view for p, g, m, v, _ in pieces for view in (p, g, m, v)]
                out = [view for p, _, m, v, copy in pieces for view in (p, m, v, copy)]
                s.op("adam_pieces", *inputs, on=self.memory.cpu, out=out, label="adam", **settings)

    def _streams(self, s: Script) -> list[CopyStream]:
        return [CopyStream(s) for _ in self._gpus]

    def _bring(self, s: Script, arriving: Sequence[CopyStream], part: int) -> None:
        """Weights of a part to every GPU: each copies its share from host memory, and sends it to the others."""
        home = self.memory.parts["compute_weights"][part]
        for gpu in self._gpus:
            moves = ((view, here) for here, view in _pieces(gpu.weights(part), home, *gpu.share(part)))
            arriving[gpu.number].copy(moves, "weights in")
        for gpu in self._gpus:
            start, stop = gpu.share(part)
            for other in self._gpus:
                if other is not gpu and start < stop:
                    mine, there = (elements(each.weights(part), start, stop - start) for each in (gpu, other))
                    s.move(mine, there, "weights between gpus")

    def _send(self, s: Script, leaving: Sequence[CopyStream], part: int) -> None:
        """Gradients of a part to host memory, and there into the fp32 master gradients."""
        home, master = (self.memory.parts[name][part] for name in ("compute_gradients", "master_gradients"))
        for gpu in self._gpus:
            self._gather(s, gpu, part)
            leaving[gpu.number].copy(_pieces(gpu.gradients(part), home, *gpu.share(part)), "gradients out")
        for source, into in common_pieces(0, home.elements, (home, master)):
            s.op("cast", source, on=self.memory.cpu, out=into, label="master gradients")

    def _gather(self, s: Script, gpu: WorkingLayers, part: int) -> None:
        """The mean of all GPUs' gradients of its share replaces a GPU's own."""
        start, stop = gpu.share(part)
        others = [other for other in self._gpus if other is not gpu]
        if not others or start == stop:
            return
        arrived = [elements(place, 0, stop - start) for place in gpu.arriving]
        for other, place in zip(others, arrived, strict=True):
            s.move(elements(other.gradients(part), start, stop - start), place, "gradients between gpus")
        mine = elements(gpu.gradients(part), start, stop - start)
        s.op("reduce", mine, *arrived, out=mine, kind="mean", label="mean of gradients")

    def place(self, run: Run) -> None:
        weights = self._scenario.weights
        for name, tensors in self.memory.parts.items():
            for part, tensor in zip(self.parts, tensors, strict=True):
                begins = [part] if name in ("master_weights", "compute_weights") else []
                tensor.place(run, content(begins, weights, 0 if begins else tensor.elements))
        for tensor in (tensor for checkpoints in self.memory.checkpoints for tensor in checkpoints):
            tensor.place(run)
        for gpu in self._gpus:
            for buffer in gpu.buffers:
                run.place(buffer, written=True)
        self._scratch.place(run)

    def masters(self) -> Masters:
        return [
            (tensor.views, [part]) for part, tensor in zip(self.parts, self.memory.parts["master_weights"], strict=True)
        ]


def _pieces(flat: Buffer | View, tensor: Striped, start: int = 0, stop: int | None = None) -> list[tuple[View, View]]:
    """Elements ``start:stop`` of a flat tensor on a GPU, each piece beside its place in host memory."""
    found = tensor.within(start, tensor.elements if stop is None else stop)
    return [(elements(flat, first, last - first), view) for first, last, view in found]


def cxl_finetune(run: Run, scenario: TrainingScenario) -> TrainingProgram:
    """Fine-tuning with states, weights and checkpoints in DRAM and on CXL cards."""
    policy = CxlFinetune(scenario)
    planned = policy.memory.planned_bytes()
    run.figure("placement", planned)
    for group, there in planned.items():
        total = sum(there.values())
        shares = ", ".join(f"{node} {size / total:.1%}" for node, size in there.items() if size)
        run.figure(group, f"{format_bytes(total)}: {shares}")
    return train(run, scenario, policy)
