"""Activations on their way from GPU to main memory, on to the drives where that is full, and back.

What a block keeps is a few tensors, its input first. Blocks keep them in main memory as long as it has room; those of
the first blocks, which come back last, go on to the drives through two places that take turns.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from controller.offload.drive_array import DriveArray, Requests
from controller.offload.passing_gpu import PassingGpu
from controller.offload.striped import Striped
from controller.plan.ops import Buffer
from controller.plan.script import Script
from controller.plan.value import Place
from controller.program.run import Run

TURNS = 2
"""Blocks whose activations are between GPU and drives at once."""


class Swapped:
    """The activations of one GPU outside of it.

    Attributes:
        names: of each block, the tensors that leave the GPU.
    """

    def __init__(
        self, gpu: PassingGpu, host: Place, names: Sequence[Sequence[str]], drives: DriveArray | None, spilled: int
    ) -> None:
        """Names everything.

        Args:
            gpu: whose activations leave.
            host: main memory.
            names: of each block that something leaves of, its input first.
            drives: where the activations of `spilled` blocks go on to.
            spilled: how many blocks, from the first on, keep theirs on the drives.
        """
        self.names, self._spilled, self._gpu = [tuple(some) for some in names], spilled, gpu
        number = gpu.number
        widest = dict.fromkeys(name for some in self.names[:spilled] for name in some)
        self._turns = [
            {name: self._buffer(host, name, f"turn{number}.{turn}.{name}") for name in widest}
            for turn in range(min(TURNS, spilled))
        ]
        self._host = [
            self._turns[layer % TURNS]
            if layer < spilled
            else {name: self._buffer(host, name, f"kept{number}.{layer}.{name}") for name in some}
            for layer, some in enumerate(self.names)
        ]
        self._on_drives: list[dict[str, Striped]] = []
        if drives is not None:
            for layer, some in enumerate(self.names[:spilled]):
                self._on_drives.append({name: self._striped(drives, layer, name) for name in some})

    def place(self, run: Run) -> None:
        """Allocates everything for the whole run."""
        for places in (*self._turns, *self._host[self._spilled :]):
            for buffer in places.values():
                run.place(buffer, written=True)
        for tensors in self._on_drives:
            for tensor in tensors.values():
                tensor.place(run)

    def out(self, s: Script, layer: int, drives: Requests | None = None, after: Sequence[int] = ()) -> None:
        """What block `layer` keeps leaves the GPU, not before the ops `after`.

        In the order of benefit, as the authors' code lists the tensors of a block: one that is made late holds up those
        behind it in the queue, so that swapping everything overlaps little with the block that makes it.
        """
        for name in self.names[layer]:
            place = self._host[layer][name]
            s.move(self._gpu.activation(layer, name), place, "activations out", queue="copy_out", after=after)
            if layer < self._spilled and drives is not None:
                drives.write(self._on_drives[layer][name], place, "ssd activations out")

    def ahead(self, drives: Requests, layer: int) -> None:
        """What block `layer` kept comes from the drives to main memory, if it is there."""
        if layer < self._spilled:
            for name in self.names[layer]:
                drives.read(self._on_drives[layer][name], self._host[layer][name], "ssd activations in")

    def back(self, s: Script, layer: int, names: Sequence[str], after: Sequence[int] = ()) -> None:
        """Some of what block `layer` kept returns to the GPU, not before the ops `after`."""
        for name in names:
            s.move(self._host[layer][name], self._gpu.activation(layer, name), "activations in", after=after)

    def _buffer(self, host: Place, name: str, called: str) -> Buffer:
        like = self._gpu.activation(0, name)
        return Buffer(host.device, host.tier, called, like.dtype, like.shape)

    def _striped(self, drives: DriveArray, layer: int, name: str) -> Striped:
        like = self._gpu.activation(0, name)
        return drives.tensor(f"activations{self._gpu.number}.{layer}.{name}", like.dtype, prod(like.shape))
