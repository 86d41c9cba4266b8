"""ZeRO-Infinity: states, parameters and gradients on the drives, the optimizer as a separate stage.

Paper: Rajbhandari et al., "ZeRO-Infinity: Breaking the GPU Memory Wall for Extreme Scale Deep Learning", arXiv
2104.07857; the baseline of LoHan / Ratel (later versions of Fuyou), section III and figure 1.
Follows: forward; backward that recomputes every block from its input, which waits in main memory; then the optimizer,
while the GPUs wait: read, update and write one sub-group after the other (DeepSpeed's default, no pipelining). Kernels,
copies and drives take turns (`controller.offload.in_turns`): figure 1 of Ratel shows it, where a backward pass of 26 s
is 17.6 s of kernels, 3.2 s of copies and 6.3 s of SSD. With several GPUs every one copies its share of a part
(bandwidth-centric partitioning, section 6.1).
Differs: attention is eager (`controller.offload.eager_attention`). What frameworks lose beyond schedule and attention
is not modelled.
Checked by: tests/paper/test_fuyou.py, tests/live/test_fuyou.py.
"""

from __future__ import annotations

from collections.abc import Sequence

from controller.models.training import Part, parts
from controller.models.training_scenario import TrainingScenario
from controller.offload.drive_array import DriveArray
from controller.offload.in_turns import InTurns, Turns
from controller.offload.passing_gpu import SLOTS
from controller.offload.striped import elements
from controller.offload.sub_groups import content, sub_groups
from controller.offload.train import Masters, train
from controller.offload.training_devices import chosen_gpus, host_of
from controller.plan.ops import Buffer, View
from controller.plan.script import Script
from controller.plan.value import Place
from controller.program.run import Run, TrainingProgram

BYTES_A_PARAMETER = 6.3
"""Main memory for each parameter [bytes]: its 175B would need about 1.1 TB (LoHan, section III)."""


class DriveHome:
    """Everything on the drives, and a few places in main memory (`controller.offload.in_turns.Home`)."""

    def __init__(self, scenario: TrainingScenario, host: Place) -> None:
        self.parts: Sequence[Part] = parts(scenario.shape)
        self._weights, self._drives, dtype = scenario.weights, DriveArray.of(scenario.topology), scenario.dtype
        self._groups = sub_groups(self.parts)
        self._states = [self._drives.tensor(f"states.{g.index}", "fp32", 3 * g.elements) for g in self._groups]
        self._parameters, self._gradients = (
            [self._drives.tensor(f"{kind}.{part.name}", dtype, part.layout.elements) for part in self.parts]
            for kind in ("parameters", "gradients")
        )
        largest = max(part.layout.elements for part in self.parts)
        group = max(group.elements for group in self._groups)

        def buffer(name: str, element: str, count: int) -> Buffer:
            return Buffer(host.device, host.tier, name, element, (count,))

        self._staging = [buffer(f"staged.{turn}", dtype, largest) for turn in range(SLOTS)]
        self._leaving = [buffer(f"leaving.{turn}", dtype, largest) for turn in range(SLOTS)]
        self._passing = (
            buffer("states", "fp32", 3 * group),
            buffer("gradients", dtype, group),
            buffer("new", dtype, group),
        )
        own = [*self._staging, *self._leaving, *self._passing]
        held = int(BYTES_A_PARAMETER * sum(part.layout.elements for part in self.parts))
        rest = held - sum(place.nbytes for place in own)
        self._in_memory = [*own, *([buffer("framework", "int8", rest)] if rest > 0 else [])]

    def turns(self, s: Script) -> Turns:
        return Turns(s, self._drives.requests(s))

    def parameters(self, turns: Turns, part: int) -> View:
        there = self._part_of(self._staging, part)
        turns.drives.read(self._parameters[part], there, "ssd parameters in", turns.before)
        turns.done()
        return there

    def arriving(self, part: int) -> View:
        return self._part_of(self._leaving, part)

    def arrived(self, turns: Turns, part: int) -> None:
        turns.drives.write(self._gradients[part], self.arriving(part), "ssd gradients out")
        turns.done()

    def update(self, turns: Turns) -> None:
        drives = turns.drives
        for group in self._groups:
            states = elements(self._passing[0], 0, 3 * group.elements)
            gradients, new = (elements(place, 0, group.elements) for place in self._passing[1:])
            drives.read(self._states[group.index], states, "ssd states in")
            for part in group.parts:
                drives.read(self._gradients[part], group.of(part, gradients), "ssd gradients in")
            group.adam(turns.s, states, gradients, new)
            drives.write(self._states[group.index], states, "ssd states out")
            for part in group.parts:
                drives.write(self._parameters[part], group.of(part, new), "ssd parameters out")

    def place(self, run: Run) -> None:
        for buffer in self._in_memory:
            run.place(buffer, written=True)
        for group, states in zip(self._groups, self._states, strict=True):
            states.place(run, group.first_states(self._weights))
        for part, parameters, gradients in zip(self.parts, self._parameters, self._gradients, strict=True):
            parameters.place(run, content([part], self._weights))
            gradients.place(run)

    def masters(self) -> Masters:
        return [
            (states.buffers, list(group.parts.values()))
            for states, group in zip(self._states, self._groups, strict=True)
        ]

    def _part_of(self, places: Sequence[Buffer], part: int) -> View:
        return elements(places[part % SLOTS], 0, self.parts[part].layout.elements)


def policy(scenario: TrainingScenario) -> InTurns:
    """Where the system keeps what, and its step."""
    host = host_of(scenario)
    home = DriveHome(scenario, host)
    return InTurns("zero_infinity", scenario, chosen_gpus(scenario), host, home, inputs_leave=True)


def zero_infinity(run: Run, scenario: TrainingScenario) -> TrainingProgram:
    """Training with states, parameters and gradients on the drives."""
    return train(run, scenario, policy(scenario))
