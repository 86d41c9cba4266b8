"""States, parameters and gradients in main memory, one flat tensor of each for every sub-group."""

from __future__ import annotations

from collections.abc import Sequence

from controller.models.training import Part, parts
from controller.models.training_scenario import TrainingScenario
from controller.offload.in_turns import Turns
from controller.offload.sub_groups import content, sub_groups
from controller.offload.train import Masters
from controller.plan.ops import Buffer, View
from controller.plan.script import Script
from controller.plan.value import Place
from controller.program.run import Run


class HostHome:
    """Everything but the working parts in main memory, 16 B a parameter (`controller.offload.in_turns.Home`)."""

    def __init__(self, scenario: TrainingScenario, host: Place) -> None:
        self.parts: Sequence[Part] = parts(scenario.shape)
        self._weights, self._groups = scenario.weights, sub_groups(self.parts)
        self._group_of = {part: group for group in self._groups for part in group.offsets}

        def flat(name: str, dtype: str, times: int) -> list[Buffer]:
            return [
                Buffer(host.device, host.tier, f"{name}.{group.index}", dtype, (times * group.elements,))
                for group in self._groups
            ]

        self._gradients, self._new = flat("gradients", scenario.dtype, 1), flat("parameters", scenario.dtype, 1)
        self._states = flat("states", "fp32", 3)

    def turns(self, s: Script) -> Turns:
        return Turns(s)

    def parameters(self, turns: Turns, part: int) -> View:
        group = self._group_of[part]
        return group.of(part, self._new[group.index])

    def master(self, part: int) -> View:
        """The fp32 parameters of a part."""
        group = self._group_of[part]
        # States are the parameters, then both moments.
        return group.of(part, self._states[group.index])

    def arriving(self, part: int) -> View:
        group = self._group_of[part]
        return group.of(part, self._gradients[group.index])

    def arrived(self, turns: Turns, part: int) -> None:
        """They stay where they are."""

    def update(self, turns: Turns) -> None:
        for group in self._groups:
            i = group.index
            group.adam(turns.s, self._states[i], self._gradients[i], self._new[i])

    def place(self, run: Run) -> None:
        for buffer in self._gradients:
            run.place(buffer, written=True)
        for group in self._groups:
            new = content(list(group.parts.values()), self._weights)
            run.place(self._new[group.index], new, written=True)
        for group in self._groups:
            run.place(self._states[group.index], group.first_states(self._weights), written=True)

    def masters(self) -> Masters:
        return [
            ([states], list(group.parts.values())) for states, group in zip(self._states, self._groups, strict=True)
        ]
