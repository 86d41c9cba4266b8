"""ZeRO-Infinity, ZeRO-Offload and Colossal-AI: offloading whose optimizer is a stage of its own.

Paper: the baselines of LoHan / Ratel (later versions of Fuyou), section III and figure 1; ZeRO-Infinity, Rajbhandari et
al., arXiv 2104.07857; ZeRO-Offload, Ren et al., arXiv 2101.06840; Gemini of Colossal-AI, arXiv 2110.14883.
Follows: forward; backward that recomputes every block from its input; then the optimizer, while the GPU waits.
ZeRO-Infinity keeps states, parameters and gradients on the drives and block inputs in main memory, and reads, updates
and writes one sub-group after the other (DeepSpeed's default, no pipelining). ZeRO-Offload keeps states in main memory,
without the delayed update. Colossal-AI as well, by pageable copies. In all three kernels, copies and drives take turns:
figure 1 shows it of ZeRO-Infinity, whose backward pass of 26 s is 17.6 s of kernels, 3.2 s of copies and 6.3 s of SSD.
Differs: attention of all three is eager: it keeps its scores, 5 s^2 heads bytes a sequence (Korthikanti et al., arXiv
2205.05198, section 4.1), and passes over them; a plan cannot run that arithmetic, so that the passes are copies of as
many bytes. That block inputs of ZeRO-Offload stay on the GPU (DeepSpeed's default) is a reading: it is what ends it at
batch 32. What frameworks lose beyond schedule and attention is not modelled. One GPU.
Checked by: tests/paper/test_fuyou.py, tests/live/test_fuyou.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from controller.models.training import Part, emit_adam, parts
from controller.models.training_scenario import TrainingScenario
from controller.plan.build import PlanBuilder
from controller.plan.ops import Buffer, Plan, View
from controller.plan.size import symbol
from controller.program.run import Array, Content, Run, TrainingProgram
from controller.strategies.fuyou.array import DriveArray
from controller.strategies.fuyou.groups import SubGroup, elements, sub_groups
from controller.strategies.fuyou.on_gpu import SLOTS, OnGpu
from controller.strategies.fuyou.options import chosen_gpus, host_of
from controller.strategies.fuyou.report import Masters, result_of
from controller.strategies.fuyou.swap import Swapped
from controller.strategies.training.loop import train_steps

SCORE_BYTES = 5
"""Of eager attention, for each pair of tokens and head: softmax 2, mask 1, dropped out 2 (arXiv 2205.05198)."""
SCORE_PASSES = 4
"""Passes over the scores, each reading and writing them once: product, scaling with mask, softmax, dropout."""
INFINITY_BYTES = 6.3
"""Main memory of ZeRO-Infinity for each parameter [bytes]: its 175B would need about 1.1 TB (LoHan, section III)."""


@dataclass(frozen=True, slots=True)
class Policy:
    """How one of the three systems differs from the others.

    Attributes:
        name: for reports.
        on_drives: states, parameters and gradients lie on the drives instead of in main memory.
        inputs_leave: block inputs go to main memory instead of staying on the GPU.
        copy: path of parameters and gradients between GPU and main memory, "" or ``pageable``.
        host_bytes_per_parameter: main memory that is taken at least [bytes].
    """

    name: str
    on_drives: bool = False
    inputs_leave: bool = False
    copy: str = ""
    host_bytes_per_parameter: float = 0.0


INFINITY = Policy("zero_infinity", on_drives=True, inputs_leave=True, host_bytes_per_parameter=INFINITY_BYTES)
OFFLOAD = Policy("zero_offload")
COLOSSAL = Policy("colossalai", copy="pageable")


class Zero:
    """The step of one scenario under one policy."""

    def __init__(self, scenario: TrainingScenario, policy: Policy) -> None:
        self.scenario, self.policy, self.host = scenario, policy, host_of(scenario)
        self.parts, self.layers, dtype = parts(scenario.shape), scenario.shape.layers, scenario.dtype
        self.groups = sub_groups(self.parts)
        self.array = DriveArray.of(scenario.topology) if policy.on_drives else None
        streams = SLOTS if policy.inputs_leave else self.layers + 1
        # Logits of the whole batch at once, as both frameworks compute them.
        self.gpu = OnGpu(scenario, chosen_gpus(scenario)[0], 0, self.parts, ((),), streams=streams, logits_bytes=2**62)
        leaving = [("x",)] * (self.layers - 1) if policy.inputs_leave else []
        self.swapped = Swapped(self.gpu, self.host, None, leaving, 0)
        pairs = scenario.batch * scenario.shape.heads * scenario.seq**2
        self._scores = [
            Buffer(self.gpu.device, "hbm", f"scores.{place}", dtype, (pairs,)) for place in range(SCORE_BYTES // 2)
        ]
        self._mask = Buffer(self.gpu.device, "hbm", "scores.mask", "int8", (pairs,))
        self._name_states(dtype)

    def plans(self) -> dict[str, Plan]:
        """The plans of a step by phase, in order."""
        return {
            "forward": self._forward_plan(), "backward": self._backward_plan(), "optimizer": self._optimizer_plan(),
        }  # fmt: skip

    # -- the step ------------------------------------------------------------------------------------------------------

    def _forward_plan(self) -> Plan:
        build, last = self._begin("forward"), len(self.parts) - 1
        self._fetch(build, last, self.gpu.weights(last))
        self._fetch(build, 0, self.gpu.weights(0))
        self.gpu.embed(build)
        for layer in range(self.layers):
            self._fetch(build, layer + 1, self.gpu.weights(layer + 1))
            self.gpu.forward(build, layer, ())
            self._attention_passes(build)
            if layer < len(self.swapped.names):
                self.swapped.out(build, layer, after=_last(build))
        self._fetch(build, 0, self.gpu.embedding_at_loss())
        return build.plan()

    def _backward_plan(self) -> Plan:
        build = self._begin("backward")
        self.gpu.loss(build, self.layers)
        self._gradients_out(build, len(self.parts) - 1)
        for layer in reversed(range(self.layers)):
            if layer < self.layers - 1:
                self._fetch(build, layer + 1, self.gpu.weights(layer + 1))
            if layer < len(self.swapped.names):
                self.swapped.back(build, layer, ("x",), after=_last(build))
            self._attention_passes(build)
            self.gpu.backward(build, layer, ())
            self._attention_passes(build)
            self._gradients_out(build, layer + 1)
        self.gpu.embed_backward(build)
        self._gradients_out(build, 0)
        return build.plan()

    def _optimizer_plan(self) -> Plan:
        """Sub-group after sub-group: read, Adam, write; in main memory Adam alone."""
        build = self._begin("optimizer")
        for group in self.groups:
            self._read_group(build, group)
            p32, momentum, variance = group.states(self._state_place(group))
            emit_adam(
                build, self.host, p32, self._gradient_place(group), momentum, variance, symbol("step"),
                copy=self._new_parameters(group),
            )  # fmt: skip
            if self.array is not None:
                self.array.write(build, self._states[group.index], self._state_place(group), "ssd states out")
                for part in group.offsets:
                    new = group.of(part, self.parts[part].layout.elements, self._new_parameters(group))
                    self.array.write(build, self._parameters[part], new, "ssd parameters out")
        return build.plan()

    def _read_group(self, build: PlanBuilder, group: SubGroup) -> None:
        if self.array is not None:
            self.array.read(build, self._states[group.index], self._state_place(group), "ssd states in")
            for part in group.offsets:
                target = group.of(part, self.parts[part].layout.elements, self._gradient_place(group))
                self.array.read(build, self._stored_gradients[part], target, "ssd gradients in")

    # -- tensors on their way ------------------------------------------------------------------------------------------

    def _begin(self, name: str) -> PlanBuilder:
        if self.array is not None:
            self.array.begin()
        return PlanBuilder(f"{self.policy.name} {name}")

    def _fetch(self, build: PlanBuilder, part: int, target: View) -> None:
        """Parameters of a part to the GPU, when everything before is done."""
        if self.array is None:
            source = self._in_memory(self._new, part)
        else:
            source = elements(self._staging[part % SLOTS], 0, self.parts[part].layout.elements)
            self.array.read(build, self._parameters[part], source, "ssd parameters in", _last(build))
        build.transfer(source, target, path=self.policy.copy, after=_last(build), label="parameters in")

    def _gradients_out(self, build: PlanBuilder, part: int) -> None:
        source = self.gpu.gradients(part)
        if self.array is None:
            target = self._in_memory(self._gradients, part)
        else:
            target = elements(self._waiting[part % SLOTS], 0, self.parts[part].layout.elements)
        build.transfer(source, target, path=self.policy.copy, after=_last(build), label="gradients out")
        if self.array is not None:
            self.array.write(build, self._stored_gradients[part], target, "ssd gradients out")

    def _attention_passes(self, build: PlanBuilder) -> None:
        """The traffic of eager attention over its scores."""
        first, second = self._scores
        for number in range(SCORE_PASSES):
            pair = (first, second) if number % 2 == 0 else (second, first)
            build.kernel("copy", self.gpu.device, [pair[0]], [pair[1]], label="attention scores")

    # -- buffers -------------------------------------------------------------------------------------------------------

    def _name_states(self, dtype: str) -> None:
        """On the drives: tensors there, and a few places in main memory. In main memory: one place a sub-group."""
        host, sizes = self.host, [group.elements for group in self.groups]
        self._group_of = {part: group for group in self.groups for part in group.offsets}
        self._extra: tuple[Buffer, ...] = ()
        if self.array is None:
            self._gradients = [Buffer(host, "dram", f"gradients.{i}", dtype, (n,)) for i, n in enumerate(sizes)]
            self._new = [Buffer(host, "dram", f"parameters.{i}", dtype, (n,)) for i, n in enumerate(sizes)]
            self._state_places = [Buffer(host, "dram", f"states.{i}", "fp32", (3 * n,)) for i, n in enumerate(sizes)]
            self._host_places = (*self._gradients, *self._new, *self._state_places)
            return
        counts = [part.layout.elements for part in self.parts]
        names = [part.name for part in self.parts]
        self._states = [self.array.tensor(f"states.{i}", "fp32", 3 * n) for i, n in enumerate(sizes)]
        self._parameters = [
            self.array.tensor(f"parameters.{name}", dtype, count) for name, count in zip(names, counts, strict=True)
        ]
        self._stored_gradients = [
            self.array.tensor(f"gradients.{name}", dtype, count) for name, count in zip(names, counts, strict=True)
        ]
        self._staging = [Buffer(host, "dram", f"staged.{turn}", dtype, (max(counts),)) for turn in range(SLOTS)]
        self._waiting = [Buffer(host, "dram", f"leaving.{turn}", dtype, (max(counts),)) for turn in range(SLOTS)]
        self._state_places = [Buffer(host, "dram", "states", "fp32", (3 * max(sizes),))]
        self._gradients = [Buffer(host, "dram", "gradients", dtype, (max(sizes),))]
        self._new = [Buffer(host, "dram", "new", dtype, (max(sizes),))]
        own = (*self._staging, *self._waiting, *self._state_places, *self._gradients, *self._new)
        taken = sum(buffer.nbytes for buffer in own)
        held = int(self.policy.host_bytes_per_parameter * sum(counts)) - taken
        self._extra = (Buffer(host, "dram", "framework", "int8", (held,)),) if held > 0 else ()
        self._host_places = (*own, *self._extra)

    def _in_memory(self, places: Sequence[Buffer], part: int) -> View:
        group = self._group_of[part]
        return group.of(part, self.parts[part].layout.elements, places[group.index])

    def _state_place(self, group: SubGroup) -> View:
        return elements(self._state_places[group.index % len(self._state_places)], 0, 3 * group.elements)

    def _gradient_place(self, group: SubGroup) -> View:
        return elements(self._gradients[group.index % len(self._gradients)], 0, group.elements)

    def _new_parameters(self, group: SubGroup) -> View:
        return elements(self._new[group.index % len(self._new)], 0, group.elements)

    # -- placing and values --------------------------------------------------------------------------------------------

    def place(self, run: Run) -> None:
        """Allocates everything; parameters and states with their first values in a live run."""
        self.gpu.place(run)
        for buffer in (*self._scores, self._mask):
            run.place(buffer, written=True)
        for buffer in self._host_places:
            run.place(buffer, self._first_in_memory(buffer), written=True)
        if self.array is not None:
            for group, states in zip(self.groups, self._states, strict=True):
                self.array.place(run, states, self._first(group, 2))
            for part, parameters, gradients in zip(self.parts, self._parameters, self._stored_gradients, strict=True):
                self.array.place(run, parameters, self._first_of([part], 0))
                self.array.place(run, gradients)
        self.swapped.place(run)

    def masters(self) -> Masters:
        """Where the fp32 parameters lie."""
        places = [[place] for place in self._state_places] if self.array is None else [s.stripes for s in self._states]
        pairs = zip(places, self.groups, strict=True)
        return [(pieces, [self.parts[part] for part in group.offsets]) for pieces, group in pairs]

    def _first_in_memory(self, buffer: Buffer) -> Content:
        """States and parameters that live in main memory begin with the weights."""
        if self.array is None:
            for places, moments in ((self._state_places, 2), (self._new, 0)):
                if buffer in places:
                    return self._first(self.groups[places.index(buffer)], moments)
        return None

    def _first(self, group: SubGroup, moments: int) -> Content:
        return self._first_of([self.parts[part] for part in group.offsets], moments * group.elements)

    def _first_of(self, whole: Sequence[Part], zeros: int) -> Content:
        weights = self.scenario.weights
        if weights is None:
            return None

        def make() -> Array:
            return np.concatenate([*(part.content(weights.tensor) for part in whole), np.zeros(zeros, np.float32)])

        return make


def _last(build: PlanBuilder) -> tuple[int, ...]:
    """The op before, which the next one waits for."""
    return (build.count - 1,) if build.count else ()


def _train(run: Run, scenario: TrainingScenario, policy: Policy) -> TrainingProgram:
    model = Zero(scenario, policy)
    model.place(run)
    losses = yield from train_steps(run, scenario, model.plans(), [model.gpu])
    return (yield from result_of(run, scenario, losses, model.masters()))


def zero_infinity(run: Run, scenario: TrainingScenario) -> TrainingProgram:
    """Training with states, parameters and gradients on the drives."""
    return _train(run, scenario, INFINITY)


def zero_offload(run: Run, scenario: TrainingScenario) -> TrainingProgram:
    """Training with states in main memory and block inputs on the GPU."""
    return _train(run, scenario, OFFLOAD)


def colossalai(run: Run, scenario: TrainingScenario) -> TrainingProgram:
    """Training with states in main memory, by pageable copies."""
    return _train(run, scenario, COLOSSAL)
