"""Training with everything in GPU memory: what offloading is compared with where it fits.

Paper: mixed-precision training as in ZeRO, Rajbhandari et al., arXiv 1910.02054, section 3.1.
Follows: parameters and gradients in the type of the model, fp32 parameters and both moments of Adam beside them, 16 B
a parameter; every activation that backward reads is kept. ``--tp`` cuts every layer over a group of GPUs (Megatron-LM,
Shoeybi et al., arXiv 1909.08053, section 3), ``--dp`` replicates the model: each replica has its own batch, and the
gradients of a part are added up by an all-reduce as soon as its backward pass has made them.
Calls between GPUs cost what the protocols of the topology say (`controller.collectives.software`).
Differs: fused attention keeps its log-sum-exp instead of the weights; no dropout, no loss scaling. ``--save inputs``
keeps only the input of every layer and recomputes the rest. Embedding and head are whole on every rank of a group.
Checked by: tests/live/test_training.py (losses and parameters against plain torch).
"""

from __future__ import annotations

from dataclasses import dataclass

from controller.collectives.on_values import collective
from controller.collectives.software import Library
from controller.models.training_scenario import TrainingScenario
from controller.offload.scratch import Scratch
from controller.offload.train import STEPS, Masters, train
from controller.offload.training_devices import first_gpus
from controller.offload.training_gpu import TrainingGpu
from controller.offload.training_ranks import TrainingRanks
from controller.plan.ops import Buffer, Plan
from controller.plan.script import Script, Source, Value
from controller.program.options import Choice, Count, Options, option
from controller.program.run import Run, TrainingProgram


@dataclass(frozen=True)
class TrainGpuOnlyOptions(Options):
    """What a user may choose."""

    dp: Count = option(1, "replicas of the model, each on its own batch")
    tp: Count = option(1, "GPUs that share every layer of a replica")
    save: Choice = option(
        "all", "activations kept for backward, all that it reads or inputs of the layers", choices=("all", "inputs")
    )


class TrainGpuOnly:
    """Replicas of one model, each on the ranks of a tensor-parallel group."""

    def __init__(self, scenario: TrainingScenario) -> None:
        options = TrainGpuOnlyOptions.of(scenario.options)
        dp, tp = options.dp, options.tp
        devices = first_gpus(scenario, dp * tp, f"--dp {dp} times --tp {tp} is {dp * tp} GPUs")
        self._replicas = [
            TrainingRanks(scenario, devices[number * tp : (number + 1) * tp], number, gradient_scale=1.0 / dp)
            for number in range(dp)
        ]
        self._libraries = [Library(scenario.topology, devices[rank::tp]) for rank in range(tp)]
        self._kept = self._replicas[0].kinds() if options.save == "all" else ()
        self._layers, self._scratch = scenario.shape.layers, Scratch("activations")

    @property
    def gpus(self) -> list[TrainingGpu]:
        return [gpu for replica in self._replicas for gpu in replica.gpus]

    def plans(self) -> dict[str, Plan]:
        s, layers = Script("train_gpu_only step", self._scratch), range(self._layers)
        passes = [(replica, replica.on(s)) for replica in self._replicas]
        streams: list[Value] = [replica.embed(on) for replica, on in passes]
        kept: list[list[dict[str, Source]]] = [[] for _ in passes]
        for layer in layers:
            for number, (replica, on) in enumerate(passes):
                x = streams[number]
                streams[number], made = replica.forward(on, layer, x)
                kept[number].append({"x": x, **{name: made[name] for name in self._kept}})
        gradients = [replica.end(on, x) for (replica, on), x in zip(passes, streams, strict=True)]
        self._average(s, self._layers + 1)
        for layer in reversed(layers):
            for (replica, on), gradient, there in zip(passes, gradients, kept, strict=True):
                replica.backward(on, layer, there[layer], gradient)
            self._average(s, layer + 1)
        for (replica, on), gradient in zip(passes, gradients, strict=True):
            replica.embed_backward(on, gradient)
        self._average(s, 0)
        for replica in self._replicas:
            for model in replica.models:
                model.adam(s)
        return {STEPS: s.plan()}

    def _average(self, s: Script, part: int) -> None:
        """The gradients of a part, scaled by one over the replicas, are added up over them, rank by rank."""
        if len(self._replicas) > 1:
            every = zip(*(replica.models for replica in self._replicas), strict=True)
            for models, library in zip(every, self._libraries, strict=True):
                found = [model.gradients[part] for model in models]
                software = library.call("all_reduce", found[0].nbytes)
                collective(s, "all_reduce", found, in_place=True, software=software, label="sum of replicas")

    def place(self, run: Run) -> None:
        for replica in self._replicas:
            replica.place(run)
        self._scratch.place(run)

    def masters(self) -> Masters:
        return self._replicas[0].masters()

    def states(self) -> list[dict[str, Buffer]]:
        """Of every replica what the next step reads, by rank of its group and kind."""
        return [
            {f"{rank}.{buffer.name}": buffer for rank, model in enumerate(replica.models) for buffer in model.states()}
            for replica in self._replicas
        ]


def train_gpu_only(run: Run, scenario: TrainingScenario) -> TrainingProgram:
    """Training with everything in GPU memory, replicated over --dp and cut over --tp GPUs."""
    return train(run, scenario, TrainGpuOnly(scenario))
