"""Training that resumes after a failure: which states are kept, where, and how they are restored.

States of a replica are the same on every replica, so those of the first are saved. Two copies are kept:

- in the **folder** of the run (`checkpoint_folder.py`), every few steps;
- with `peers`, in the **memory of the next replica**, after every step, in two slots by turns: a failure in the middle
  of a copy leaves the other slot whole.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from controller.offload.checkpoint_folder import CheckpointFolder, SavedStates
from controller.offload.train import TrainingPolicy
from controller.plan.build import PlanBuilder
from controller.plan.ops import Buffer, Plan
from controller.program.run import Run, Wish


class ReplicatedPolicy(TrainingPolicy, Protocol):
    """A training system whose replicas all have the same states."""

    def states(self) -> Sequence[Mapping[str, Buffer]]:
        """Of every replica what the next step reads, by a name that is the same on all of them."""


@dataclass(slots=True)
class StateKeeper:
    """Keeps the states of a training run, and puts them back.

    Attributes:
        folder: of its checkpoints.
        every: steps from one of them to the next.
        saved: what it begins with; None for the first step.
        peers: whether each replica keeps a copy of the one before it.
        losses: of all steps so far.
        slots: step that each of the two slots in the memory of peers holds; -1 for none.
    """

    folder: CheckpointFolder
    every: int
    saved: SavedStates | None = None
    peers: bool = False
    losses: list[float] = field(default_factory=list)
    slots: list[int] = field(default_factory=lambda: [-1, -1])
    _states: Sequence[Mapping[str, Buffer]] = ()
    _copies: tuple[Plan, ...] = ()

    @property
    def first(self) -> int:
        """The step that comes first, from 0."""
        return 0 if self.saved is None else self.saved.step

    def placed(self, run: Run, policy: ReplicatedPolicy) -> None:
        """Puts the saved states into buffers that the policy has placed."""
        self._states = policy.states()
        if self.saved is not None:
            self.losses = list(self.saved.losses)
            for states in self._states:
                for name, buffer in states.items():
                    run.write(buffer, np.ascontiguousarray(self.saved.arrays[name]).reshape(buffer.shape))
        if self.peers and len(self._states) > 1:
            for slot in range(2):
                for shadows in self.shadows(slot):
                    for buffer in shadows.values():
                        run.place(buffer, written=True)
            self._copies = tuple(self._copy(slot) for slot in range(2))

    def after(self, run: Run, step: int, loss: float | None) -> Generator[Wish, Any, None]:
        """Keeps the states behind `step` (from 0), whose loss that was."""
        if loss is not None:
            self.losses.append(loss)
        if self._copies:
            slot = step % 2
            self.slots[slot] = -1
            yield run.submit(self._copies[slot])
            self.slots[slot] = step + 1
        if run.live and (step + 1) % self.every == 0:
            arrays: dict[str, Any] = {}
            for name, buffer in self._states[0].items():
                arrays[name] = yield run.fetch(buffer)
            self.folder.save(SavedStates(step + 1, tuple(self.losses), arrays))

    def shadows(self, slot: int) -> Sequence[Mapping[str, Buffer]]:
        """Of every replica its copy in the memory of the next one."""
        count = len(self._states)
        found = []
        for number, states in enumerate(self._states):
            holders = self._states[(number + 1) % count]
            found.append(
                {
                    name: Buffer(
                        holders[name].device, buffer.tier, f"shadow{slot}.{buffer.name}", buffer.dtype, buffer.shape
                    )
                    for name, buffer in states.items()
                }
            )
        return found

    def _copy(self, slot: int) -> Plan:
        build = PlanBuilder(f"copy to peers {slot}")
        for states, shadows in zip(self._states, self.shadows(slot), strict=True):
            for name, buffer in states.items():
                build.transfer(buffer, shadows[name], label="copy to a peer")
        return build.plan()
