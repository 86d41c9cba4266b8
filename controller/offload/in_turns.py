"""Training in which kernels, copies and drives take turns, and the optimizer is a stage of its own.

The schedule of the frameworks that keep states off the GPU without overlapping much: forward; backward that recomputes
every block from its input; then the optimizer, while the GPUs wait. With several GPUs each trains on its own batch,
copies its share of a part over its own link, and the rest passes between them: parameters by an all-gather, gradients
by a reduce-scatter (Rajbhandari et al., arXiv 2104.07857, sections 5.1.1 and 6.1), calls of a library whose protocols
the topology declares.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

from controller.collectives.on_values import collective
from controller.collectives.software import Library
from controller.models.training import Part
from controller.models.training_scenario import TrainingScenario
from controller.offload.drive_array import Requests
from controller.offload.eager_attention import EagerScores
from controller.offload.passing_gpu import SLOTS, PassingGpu
from controller.offload.scratch import Scratch, plans_of
from controller.offload.striped import elements
from controller.offload.swapped import Swapped
from controller.offload.train import Masters
from controller.offload.training_gpu import TrainingGpu
from controller.plan.ops import Plan, View
from controller.plan.ranges import even_ranges
from controller.plan.script import Script, Source
from controller.plan.value import Place
from controller.program.run import Run
from node.hardware.operation import ITEM_BYTES


class Turns:
    """A script in which each thing waits for the one before.

    Attributes:
        s: the script.
        before: the last ops of what came before.
    """

    def __init__(self, s: Script, drives: Requests | None = None) -> None:
        self.s, self._drives = s, drives
        self.before: tuple[int, ...] = ()

    @property
    def drives(self) -> Requests:
        """Requests of the script, where something lies on drives."""
        assert self._drives is not None, "this home has no drives"
        return self._drives

    def each(self, gpus: Sequence[PassingGpu]) -> Iterator[PassingGpu]:
        """All GPUs, which do the same at once; `before` is theirs when the loop has ended."""
        ends = []
        for gpu in gpus:
            yield gpu
            ends.append(self.s.count - 1)
        self.before = tuple(ends)

    def done(self) -> None:
        """What came last was for all GPUs."""
        self.before = (self.s.count - 1,)


class Home(Protocol):
    """Where parameters, gradients and states lie."""

    parts: Sequence[Part]

    def turns(self, s: Script) -> Turns:
        """The turns of a script."""

    def parameters(self, turns: Turns, part: int) -> View:
        """Parameters of a part in main memory."""

    def arriving(self, part: int) -> View:
        """Where the gradients of a part arrive in main memory."""

    def arrived(self, turns: Turns, part: int) -> None:
        """What happens to them then."""

    def update(self, turns: Turns) -> None:
        """The optimizer."""

    def place(self, run: Run) -> None:
        """Allocates everything; parameters and states with their first values in a live run."""

    def masters(self) -> Masters:
        """Where the fp32 parameters lie."""


class InTurns:
    """The step of one scenario (`controller.offload.train.TrainingPolicy`)."""

    def __init__(
        self, name: str, scenario: TrainingScenario, gpus: Sequence[str], host: Place, home: Home, *,
        inputs_leave: bool = False, copy: str = "", out_bytes_per_s: float = 0.0,
        evicted: Callable[[int], View] | None = None,
    ) -> None:  # fmt: skip
        """Names everything.

        Args:
            name: of the system.
            scenario: of the run.
            gpus: that train.
            host: main memory.
            home: where parameters, gradients and states lie.
            inputs_leave: block inputs go to main memory instead of staying on the GPU.
            copy: path of parameters and gradients between GPU and main memory, "" or ``pageable``.
            out_bytes_per_s: limit of such copies to main memory; 0 for none [bytes/s].
            evicted: the fp32 parameters of a part in main memory, where parameters arrive so after the optimizer, are
                cast on the GPU, and are copied back to main memory when their place is needed; None where nothing is.
        """
        self._out_bytes_per_s = out_bytes_per_s
        self._name, self._home, self._copy, self._layers = name, home, copy, scenario.shape.layers
        self._evicted, self._item = evicted, ITEM_BYTES[scenario.dtype]
        self._library = Library(scenario.topology, gpus)
        streams = SLOTS if inputs_leave else self._layers + 1
        # Logits of the whole batch at once, as the frameworks compute them.
        self._gpus = [
            PassingGpu(
                scenario, gpu, number, home.parts, streams=streams, logits_bytes=2**62, gradient_scale=1.0 / len(gpus)
            )
            for number, gpu in enumerate(gpus)
        ]
        leaving = [("x",)] * (self._layers - 1) if inputs_leave else []
        self._swapped = [Swapped(gpu, host, leaving, None, 0) for gpu in self._gpus]
        self._scores = [EagerScores(scenario, gpu) for gpu in gpus]
        self._scratch = Scratch("scratch")

    @property
    def gpus(self) -> list[TrainingGpu]:
        return [gpu.batch for gpu in self._gpus]

    def plans(self) -> dict[str, Plan]:
        stages: dict[str, Callable[[Turns], None]] = {
            "forward": self._forward, "backward": self._backward, "optimizer": self._home.update,
        }  # fmt: skip
        scripts = {stage: Script(f"{self._name} {stage}", self._scratch) for stage in stages}
        for stage, emit in stages.items():
            emit(self._home.turns(scripts[stage]))
        return plans_of(scripts)

    def place(self, run: Run) -> None:
        for gpu, scores in zip(self._gpus, self._scores, strict=True):
            gpu.place(run)
            scores.place(run)
        self._scratch.place(run)
        self._home.place(run)
        for swapped in self._swapped:
            swapped.place(run)

    def masters(self) -> Masters:
        return self._home.masters()

    def _forward(self, turns: Turns) -> None:
        s, last = turns.s, self._layers + 1
        self._fetch(turns, last, [gpu.weights(last) for gpu in self._gpus], new=True)
        self._fetch(turns, 0, [gpu.weights(0) for gpu in self._gpus], new=True)
        for gpu in turns.each(self._gpus):
            gpu.embed(s)
        for layer in range(self._layers):
            self._evict(turns, layer, [gpu.weights(layer) for gpu in self._gpus])
            self._fetch(turns, layer + 1, [gpu.weights(layer + 1) for gpu in self._gpus], new=True)
            for gpu in turns.each(self._gpus):
                gpu.forward(s, layer)
                self._scores[gpu.number].passes(s)
            if self._leaves(layer):
                for gpu in turns.each(self._gpus):
                    self._swapped[gpu.number].out(s, layer, after=turns.before)
        self._fetch(turns, 0, [gpu.embedding_at_loss() for gpu in self._gpus])

    def _backward(self, turns: Turns) -> None:
        s = turns.s
        gradients = [gpu.end(s, self._layers) for gpu in turns.each(self._gpus)]
        self._send(turns, self._layers + 1)
        for layer in reversed(range(self._layers)):
            if layer < self._layers - 1:
                self._fetch(turns, layer + 1, [gpu.weights(layer + 1) for gpu in self._gpus])
            if self._leaves(layer):
                for gpu in turns.each(self._gpus):
                    self._swapped[gpu.number].back(s, layer, ("x",), after=turns.before)
            for gpu in turns.each(self._gpus):
                self._scores[gpu.number].passes(s)
                gpu.backward(s, layer, gradients[gpu.number])
                self._scores[gpu.number].passes(s)
            self._send(turns, layer + 1)
        for gpu in turns.each(self._gpus):
            gpu.embed_backward(s, gradients[gpu.number])
        self._send(turns, 0)

    def _leaves(self, layer: int) -> bool:
        """Whether the input of a block goes to main memory."""
        return layer < len(self._swapped[0].names)

    def _bytes(self, part: int) -> int:
        """Of a part, as the model computes in it [bytes]."""
        return self._home.parts[part].layout.elements * self._item

    def _fetch(self, turns: Turns, part: int, targets: Sequence[View], new: bool = False) -> None:
        """Parameters of a part to every GPU: its share over its own link, then everything by an all-gather.

        Args:
            turns: of the script.
            part: of the model.
            targets: on the GPUs.
            new: for the first time since the optimizer.
        """
        source = self._evicted(part) if new and self._evicted else self._home.parameters(turns, part)
        shares = even_ranges(self._home.parts[part].layout.elements, len(targets))
        mine = [elements(target, start, stop - start) for target, (start, stop) in zip(targets, shares, strict=True)]
        for gpu in turns.each(self._gpus):
            start, stop = shares[gpu.number]
            share, target = elements(source, start, stop - start), mine[gpu.number]
            if share.buffer.dtype == target.buffer.dtype:
                turns.s.move(share, target, "parameters in", path=self._copy, after=turns.before)
                continue
            here = Place(gpu.device, "hbm")
            moved = turns.s.move(share, here, "parameters in", path=self._copy, after=turns.before)
            turns.s.op("cast", moved, out=target)
        if len(targets) > 1:
            software = self._library.call("all_gather", self._bytes(part))
            collective(turns.s, "all_gather", mine, out=targets, software=software, label="parameters between gpus")
            turns.done()

    def _evict(self, turns: Turns, part: int, sources: Sequence[View]) -> None:
        """Parameters of a part back to main memory, each GPU's share over its own link; nothing unless it evicts."""
        if self._evicted is None:
            return
        target = self._home.parameters(turns, part)
        shares = even_ranges(self._home.parts[part].layout.elements, len(sources))
        for gpu in turns.each(self._gpus):
            start, stop = shares[gpu.number]
            turns.s.move(
                elements(sources[gpu.number], start, stop - start), elements(target, start, stop - start),
                "parameters out", path=self._copy, rate_limit_bytes_per_s=self._out_bytes_per_s, after=turns.before,
            )  # fmt: skip

    def _send(self, turns: Turns, part: int) -> None:
        """The gradients of a part, those of all GPUs added up, to main memory: of every GPU its share."""
        target = self._home.arriving(part)
        mine: Sequence[Source] = [gpu.gradients(part) for gpu in self._gpus]
        if len(mine) > 1:
            software = self._library.call("reduce_scatter", self._bytes(part))
            mine = collective(turns.s, "reduce_scatter", mine, software=software, label="gradients between gpus")
            turns.done()
        shares = even_ranges(self._home.parts[part].layout.elements, len(mine))
        for gpu in turns.each(self._gpus):
            start, stop = shares[gpu.number]
            turns.s.move(
                mine[gpu.number], elements(target, start, stop - start), "gradients out", path=self._copy,
                rate_limit_bytes_per_s=self._out_bytes_per_s, after=turns.before,
            )  # fmt: skip
        self._home.arrived(turns, part)
