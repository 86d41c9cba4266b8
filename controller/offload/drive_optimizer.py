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

from controller.models.training import Part
from controller.models.training_scenario import TrainingScenario
from controller.offload.drive_array import DriveArray, Requests
from controller.offload.passing_gpu import PassingGpu
from controller.offload.striped import elements
from controller.offload.sub_groups import SubGroup, content, sub_groups
from controller.offload.train import Masters
from controller.plan.ops import Buffer, View
from controller.plan.script import Script
from controller.plan.value import Place
from controller.program.run import Array, Content, Run

ORDERS = ("optimised", "naive", "serial")
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


class DriveOptimizer:
    """States, parameters and gradients outside of the GPUs.

    Attributes:
        order: one of `ORDERS`.
        groups: sub-groups, in the order of the backward pass.
        states: of each on the drives: parameters, then first and second moments, fp32.
        parameters: of each part on the drives, in the type of the model.
        host_buffers: what passes through main memory.
    """

    def __init__(
        self,
        scenario: TrainingScenario,
        drives: DriveArray,
        host: Place,
        parts: Sequence[Part],
        gpu_count: int,
        checkpoint: Checkpoint | None = None,
        *,
        order: str,
        sub_group: int,
    ) -> None:
        """Names everything.

        Args:
            scenario: of the run.
            drives: that states and parameters lie on.
            host: main memory.
            parts: of the model.
            gpu_count: GPUs whose gradients arrive.
            checkpoint: where training resumes; None for the beginning.
            order: one of `ORDERS`.
            sub_group: elements of a sub-group of more than one part, at most.
        """
        self._scenario, self._host, self._parts = scenario, host, parts
        self._checkpoint, dtype = checkpoint, scenario.dtype
        self.order, self.groups = order, sub_groups(parts, sub_group)
        self._group_of = {part: group for group in self.groups for part in group.offsets}
        self.states = [drives.tensor(f"states.{group.index}", "fp32", 3 * group.elements) for group in self.groups]
        self.parameters = [drives.tensor(f"parameters.{part.name}", dtype, part.layout.elements) for part in parts]
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

    def consume(self, s: Script, drives: Requests, part: int, gpus: Sequence[PassingGpu]) -> None:
        """The gradients of a part leave the GPUs; a sub-group that is whole is updated, but in serial order."""
        group = self._group_of[part]
        for gpu in gpus:
            target = group.of(part, self._gradients(group, gpu.number))
            s.move(gpu.gradients(part), target, "gradients out", queue="copy_out")
        # Gradients arrive in the order of the parts of a sub-group.
        if part == list(group.offsets)[-1] and self.order != "serial":
            self._update(s, drives, group)

    def stage(self, s: Script, drives: Requests) -> None:
        """Serial order: the update of every sub-group, as a stage of its own."""
        for group in self.groups:
            self._update(s, drives, group)
        self.finish(drives)

    def finish(self, drives: Requests) -> None:
        """Writes what waits to be written."""
        while self._pending:
            self._write(drives, self._pending.pop(0))

    def _update(self, s: Script, drives: Requests, group: SubGroup) -> None:
        """Read, Adam, write; the write waits behind the next read unless the order is naive."""
        states, gradients = self._state_place(group), self._gradients(group, 0)
        drives.read(self.states[group.index], states, "ssd states in")
        if len(self._gradient_places) > 1:
            every = [self._gradients(group, number) for number in range(len(self._gradient_places))]
            s.op("reduce", *every, out=gradients, kind="mean")
        group.adam(s, states, gradients, self._new_parameters(group))
        self._pending.append(group)
        while len(self._pending) > (0 if self.order == "naive" else 1):
            self._write(drives, self._pending.pop(0))

    def _write(self, drives: Requests, group: SubGroup) -> None:
        """States and new parameters go back to the drives."""
        drives.write(self.states[group.index], self._state_place(group), "ssd states out")
        for part in group.offsets:
            new = group.of(part, self._new_parameters(group))
            drives.write(self.parameters[part], new, "ssd parameters out")

    def place(self, run: Run) -> None:
        """Allocates everything; parameters and states with their first values in a live run."""
        for buffer in self.host_buffers:
            run.place(buffer, written=True)
        for group, states in zip(self.groups, self.states, strict=True):
            states.place(run, self._first_states(group))
        for index, parameters in enumerate(self.parameters):
            parameters.place(run, self._first_parameters(index))

    def masters(self) -> Masters:
        """Where the fp32 parameters lie on the drives."""
        whole = zip(self.states, self.groups, strict=True)
        return [(states.views, list(group.parts.values())) for states, group in whole]

    def _buffers(self, name: str, dtype: str, count: int, size: int) -> list[Buffer]:
        return [Buffer(self._host.device, self._host.tier, f"{name}.{turn}", dtype, (size,)) for turn in range(count)]

    def _state_place(self, group: SubGroup) -> View:
        return elements(self._state_places[group.index % len(self._state_places)], 0, 3 * group.elements)

    def _new_parameters(self, group: SubGroup) -> View:
        return elements(self._new_places[group.index % len(self._new_places)], 0, group.elements)

    def _gradients(self, group: SubGroup, gpu: int) -> View:
        places = self._gradient_places[gpu]
        return elements(places[group.index % len(places)], 0, group.elements)

    def _first_parameters(self, part: int) -> Content:
        whole, group = self._parts[part], self._group_of[part]
        if self._checkpoint is not None:
            start = group.offsets[part]
            return self._checkpoint.states[group.index][start : start + whole.layout.elements]
        return content([whole], self._scenario.weights)

    def _first_states(self, group: SubGroup) -> Content:
        if self._checkpoint is not None:
            return self._checkpoint.states[group.index]
        return group.first_states(self._scenario.weights)
