"""The optimizer out of core: sub-groups whose states live on the drives and pass a few buffers in main memory.

Gradients arrive part by part. A sub-group that is whole is updated: its states are read, Adam runs on the CPU, states
and new parameters are written. How the three follow one another is the order: in ``optimised`` the read of the next
sub-group is asked for before the write of this one, in ``naive`` they follow one another, and in ``serial`` all
sub-groups wait for the end of the backward pass.

Source: LoHan / Ratel, section IV-C; the authors' code (a queue between the thread that swaps and the process of Adam).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from controller.models.training import Part, emit_adam
from controller.models.training_scenario import TrainingScenario
from controller.plan.build import PlanBuilder
from controller.plan.ops import Buffer, View
from controller.plan.size import symbol
from controller.program.run import Array, Content, Run
from controller.strategies.fuyou.array import DriveArray
from controller.strategies.fuyou.groups import SubGroup, elements, sub_groups
from controller.strategies.fuyou.on_gpu import OnGpu
from controller.strategies.fuyou.options import FuyouOptions
from controller.strategies.fuyou.report import Masters

BUFFERS = 8
"""Optimizer buffers in main memory (the authors' code): states, gradients and new parameters of one sub-group each."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What was found on the drives.

    Attributes:
        steps: that it has been trained for.
        states: of every sub-group in order, fp32: parameters, first and second moments.
    """

    steps: int
    states: Sequence[Array]


class Optimizer:
    """States, parameters and gradients outside of the GPUs.

    Attributes:
        order: of `FuyouOptions`.
        groups: sub-groups, in the order of the backward pass.
        states: of each on the drives: parameters, then first and second moments, fp32.
        parameters: of each part on the drives, in the type of the model.
        host_buffers: what passes through main memory.
    """

    def __init__(
        self,
        scenario: TrainingScenario,
        array: DriveArray,
        host: str,
        parts: Sequence[Part],
        gpu_count: int,
        checkpoint: Checkpoint | None,
    ) -> None:
        self._scenario, self._array, self._host, self._parts = scenario, array, host, parts
        self._checkpoint, dtype = checkpoint, scenario.dtype
        options = FuyouOptions.of(scenario.options)
        self.order, self.groups = options.order, sub_groups(parts, options.sub_group)
        self._group_of = {part: group for group in self.groups for part in group.offsets}
        self.states = [array.tensor(f"states.{group.index}", "fp32", 3 * group.elements) for group in self.groups]
        self.parameters = [array.tensor(f"parameters.{part.name}", dtype, part.layout.elements) for part in parts]
        largest, turns = max(group.elements for group in self.groups), min(len(self.groups), BUFFERS)
        self._state_places = self._buffers("states", "fp32", turns, 3 * largest)
        self._new_places = self._buffers("new", dtype, turns, largest)
        # In serial order all gradients wait for the optimizer.
        waiting = len(self.groups) if self.order == "serial" else turns
        self._gradient_places = [
            self._buffers(f"gradients.{number}", dtype, waiting, largest) for number in range(gpu_count)
        ]
        self._pending: list[SubGroup] = []

    @property
    def host_buffers(self) -> tuple[Buffer, ...]:
        """What passes through main memory."""
        gradients = (place for places in self._gradient_places for place in places)
        return (*self._state_places, *self._new_places, *gradients)

    def consume(self, build: PlanBuilder, part: int, gpus: Sequence[OnGpu]) -> None:
        """The gradients of a part leave the GPUs; a sub-group that is whole is updated, but in serial order."""
        group, count = self._group_of[part], self._parts[part].layout.elements
        for gpu in gpus:
            target = group.of(part, count, self._gradients(group, gpu.number))
            build.transfer(gpu.gradients(part), target, queue="copy_out", label="gradients out")
        # Gradients arrive in the order of the parts of a sub-group.
        if part == list(group.offsets)[-1] and self.order != "serial":
            self._update(build, group)

    def stage(self, build: PlanBuilder) -> None:
        """Serial order: the update of every sub-group, as a stage of its own."""
        for group in self.groups:
            self._update(build, group)

    def finish(self, build: PlanBuilder) -> None:
        """Writes what waits to be written."""
        while self._pending:
            self._write(build, self._pending.pop(0))

    def _update(self, build: PlanBuilder, group: SubGroup) -> None:
        """Read, Adam, write; the write waits behind the next read unless the order is naive."""
        states, gradients = self._state_place(group), self._gradients(group, 0)
        self._array.read(build, self.states[group.index], states, "ssd states in")
        if len(self._gradient_places) > 1:
            every = [self._gradients(group, number) for number in range(len(self._gradient_places))]
            build.kernel("reduce", self._host, every, [gradients], kind="mean")
        p32, momentum, variance = group.states(states)
        new = self._new_parameters(group)
        emit_adam(build, self._host, p32, gradients, momentum, variance, symbol("step"), copy=new)
        self._pending.append(group)
        while len(self._pending) > (0 if self.order == "naive" else 1):
            self._write(build, self._pending.pop(0))

    def _write(self, build: PlanBuilder, group: SubGroup) -> None:
        """States and new parameters go back to the drives."""
        self._array.write(build, self.states[group.index], self._state_place(group), "ssd states out")
        for part in group.offsets:
            new = group.of(part, self._parts[part].layout.elements, self._new_parameters(group))
            self._array.write(build, self.parameters[part], new, "ssd parameters out")

    # -- places and values ---------------------------------------------------------------------------------------------

    def place(self, run: Run) -> None:
        """Allocates everything; parameters and states with their first values in a live run."""
        for buffer in self.host_buffers:
            run.place(buffer, written=True)
        for group, states in zip(self.groups, self.states, strict=True):
            self._array.place(run, states, self._first_states(group))
        for index, parameters in enumerate(self.parameters):
            self._array.place(run, parameters, self._first_parameters(index))

    def masters(self) -> Masters:
        """Where the fp32 parameters lie on the drives."""
        whole = zip(self.states, self.groups, strict=True)
        return [(states.stripes, [self._parts[part] for part in group.offsets]) for states, group in whole]

    def _buffers(self, name: str, dtype: str, count: int, size: int) -> list[Buffer]:
        return [Buffer(self._host, "dram", f"{name}.{turn}", dtype, (size,)) for turn in range(count)]

    def _state_place(self, group: SubGroup) -> View:
        return elements(self._state_places[group.index % len(self._state_places)], 0, 3 * group.elements)

    def _new_parameters(self, group: SubGroup) -> View:
        return elements(self._new_places[group.index % len(self._new_places)], 0, group.elements)

    def _gradients(self, group: SubGroup, gpu: int) -> View:
        places = self._gradient_places[gpu]
        return elements(places[group.index % len(places)], 0, group.elements)

    def _first_parameters(self, part: int) -> Content:
        weights, whole = self._scenario.weights, self._parts[part]
        if self._checkpoint is not None:
            group = self._group_of[part]
            start = group.offsets[part]
            return self._checkpoint.states[group.index][start : start + whole.layout.elements]
        return None if weights is None else lambda: whole.content(weights.tensor)

    def _first_states(self, group: SubGroup) -> Content:
        weights, whole = self._scenario.weights, [self._parts[part] for part in group.offsets]
        if self._checkpoint is not None:
            return self._checkpoint.states[group.index]
        if weights is None:
            return None

        def make() -> Array:
            values = [part.content(weights.tensor) for part in whole]
            return np.concatenate([*values, np.zeros(2 * group.elements, np.float32)])

        return make
