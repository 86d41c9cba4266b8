"""Activations on their way from GPU to main memory, on to the drives where that is full, and back.

What a block keeps is a few tensors, its input first. Blocks keep them in main memory as long as it has room; those of
the first blocks, which come back last, go on to the drives through two places that take turns.
"""

from __future__ import annotations

from collections.abc import Sequence

from controller.plan.build import PlanBuilder
from controller.plan.ops import Buffer, View
from controller.program.run import Run
from controller.strategies.fuyou.array import DriveArray, Striped
from controller.strategies.fuyou.groups import elements
from controller.strategies.fuyou.on_gpu import OnGpu

TURNS = 2
"""Blocks whose activations are between GPU and drives at once."""


class Swapped:
    """The activations of one GPU outside of it.

    Attributes:
        names: of each block, the tensors that leave the GPU.
        spilled: how many blocks, from the first on, keep theirs on the drives.
    """

    def __init__(
        self, gpu: OnGpu, host: str, array: DriveArray | None, names: Sequence[Sequence[str]], spilled: int
    ) -> None:
        self.names, self.spilled = [tuple(some) for some in names], spilled
        self._gpu, self._array = gpu, array
        self._host: list[dict[str, Buffer]] = []
        self._drives: list[dict[str, Striped]] = []
        number = gpu.number
        turns = [
            {name: self._buffer(host, name, f"turn{number}.{turn}.{name}") for name in self._widest(spilled)}
            for turn in range(min(TURNS, spilled))
        ]
        for layer, some in enumerate(self.names):
            if layer < spilled:
                assert array is not None, "blocks spill only where there is an array"
                self._host.append(turns[layer % TURNS])
                self._drives.append({name: self._striped(array, layer, name) for name in some})
            else:
                self._host.append({name: self._buffer(host, name, f"kept{number}.{layer}.{name}") for name in some})
        self._turns = turns

    @property
    def host_buffers(self) -> tuple[Buffer, ...]:
        """What lies in main memory."""
        kept = [buffer for places in self._host[self.spilled :] for buffer in places.values()]
        return (*(buffer for places in self._turns for buffer in places.values()), *kept)

    def place(self, run: Run) -> None:
        """Allocates everything for the whole run."""
        for buffer in self.host_buffers:
            run.place(buffer, written=True)
        for tensors in self._drives:
            for tensor in tensors.values():
                assert self._array is not None
                self._array.place(run, tensor)

    def out(self, build: PlanBuilder, layer: int, after: Sequence[int] = ()) -> None:
        """What block `layer` keeps leaves the GPU, not before the ops `after`.

        In the order of benefit, as the authors' code lists the tensors of a block: one that is made late holds up those
        behind it in the queue, so that swapping everything overlaps little with the block that makes it.
        """
        for name in self.names[layer]:
            place = self._host[layer][name]
            source = self._gpu.activation(layer, name)
            build.transfer(source, place, queue="copy_out", after=after, label="activations out")
            if layer < self.spilled:
                assert self._array is not None
                self._array.write(build, self._drives[layer][name], _flat(place), "ssd activations out")

    def ahead(self, build: PlanBuilder, layer: int) -> None:
        """What block `layer` kept comes from the drives to main memory, if it is there."""
        if layer < self.spilled:
            for name in self.names[layer]:
                assert self._array is not None
                self._array.read(build, self._drives[layer][name], _flat(self._host[layer][name]), "ssd activations in")

    def back(self, build: PlanBuilder, layer: int, names: Sequence[str], after: Sequence[int] = ()) -> None:
        """Some of what block `layer` kept returns to the GPU, not before the ops `after`."""
        for name in names:
            target = self._gpu.activation(layer, name)
            build.transfer(self._host[layer][name], target, after=after, label="activations in")

    def _widest(self, spilled: int) -> tuple[str, ...]:
        return tuple(dict.fromkeys(name for some in self.names[:spilled] for name in some))

    def _buffer(self, host: str, name: str, called: str) -> Buffer:
        like = self._gpu.activation(0, name).buffer
        return Buffer(host, "dram", called, like.dtype, like.shape)

    def _striped(self, array: DriveArray, layer: int, name: str) -> Striped:
        like = self._gpu.activation(0, name).buffer
        count = 1
        for extent in like.shape:
            count *= extent
        return array.tensor(f"activations{self._gpu.number}.{layer}.{name}", like.dtype, count)


def _flat(buffer: Buffer) -> View:
    count = 1
    for extent in buffer.shape:
        count *= extent
    return elements(buffer, 0, count)
