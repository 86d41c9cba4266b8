"""One GPU's share of an out-of-core training step: the few buffers through which everything passes.

Parameters of two parts of the model, gradients of two, the stream between two blocks, and one place for each kind of
activation that is swapped; the rest of the GPU is scratch. Where a place is used again, the plan waits for whoever used
it last, kind by kind, so that a copy and the next block overlap.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from controller.models.training import Part, TrainingStage
from controller.models.training.stage import LOGITS_BYTES
from controller.models.training_scenario import TrainingScenario
from controller.plan.build import PlanBuilder
from controller.plan.ops import Buffer, View
from controller.program.run import Run
from controller.strategies.fuyou.groups import elements
from controller.strategies.training.loop import token_buffers

SLOTS = 2
"""Parts whose parameters, or gradients, are on the GPU at once: one in use, one on its way."""


class OnGpu:
    """Buffers and stage of one GPU.

    Attributes:
        device: its name.
        number: among the GPUs of the run.
        stage: the kernels.
        ids, targets: token ids of the step (batch, seq).
    """

    def __init__(
        self,
        scenario: TrainingScenario,
        device: str,
        number: int,
        parts: Sequence[Part],
        saves: Collection[tuple[str, ...]],
        *,
        streams: int = SLOTS,
        logits_bytes: int = LOGITS_BYTES,
    ) -> None:
        """Names everything.

        Args:
            scenario: of the run.
            device: the GPU.
            number: among the GPUs of the run.
            parts: of the model.
            saves: the sets of activations that blocks keep, their inputs aside.
            streams: inputs of blocks that are here at once.
            logits_bytes: logits that are there at once, at most [bytes].
        """
        shape, dtype = scenario.shape, scenario.dtype
        self.device, self.number, self._parts = device, number, parts
        self.stage = TrainingStage(
            shape, device, batch=scenario.batch, seq=scenario.seq, dtype=dtype, saves=saves, whole_block=True,
            logits_bytes=logits_bytes,
        )  # fmt: skip
        largest = max(part.layout.elements for part in parts)
        layer = max(part.layout.elements for part in parts if part.layer is not None)
        self._weights = [Buffer(device, "hbm", f"weights.{slot}", dtype, (largest,)) for slot in range(SLOTS)]
        self._gradients = [Buffer(device, "hbm", f"gradients.{slot}", dtype, (layer,)) for slot in range(SLOTS)]
        ends = (parts[0], parts[-1])
        self._end_gradients = {
            part.name: part.layout.buffer(device, "hbm", f"gradients.{part.name}", dtype) for part in ends
        }
        self._head = parts[-1].layout.buffer(device, "hbm", "weights.head", dtype)
        self._x = [self.stage.activation_buffer("x", f"x.{slot}") for slot in range(streams)]
        names = dict.fromkeys(name for saved in saves for name in saved)
        self._saved = {name: self.stage.activation_buffer(name, f"saved.{name}") for name in names}
        self.ids, self.targets = token_buffers(scenario, device)

    @property
    def buffers(self) -> tuple[Buffer, ...]:
        """Everything that must be placed."""
        ends = tuple(self._end_gradients.values())
        passing = (*self._weights, *self._gradients, *ends, self._head, *self._x, *self._saved.values())
        return (*passing, *self.stage.buffers, self.ids, self.targets)

    @property
    def nbytes(self) -> int:
        """Size of all of them [bytes]."""
        return sum(buffer.nbytes for buffer in self.buffers)

    def place(self, run: Run) -> None:
        """Allocates everything for the whole run."""
        for buffer in self.buffers:
            run.place(buffer, written=True)

    def weights(self, part: int) -> View:
        """Where the parameters of a part are while it is used: parts take turns, the embedding at both its uses."""
        if part == len(self._parts) - 1:
            return self._head.view()
        return elements(self._weights[part % SLOTS], 0, self._parts[part].layout.elements)

    def embedding_at_loss(self) -> View:
        """Where the parameters of the embedding are when the loss is computed: the next turn after the last block."""
        slot = self._weights[(len(self._parts) - 1) % SLOTS]
        return elements(slot, 0, self._parts[0].layout.elements)

    def gradients(self, part: int) -> View:
        """Where the gradients of a part are until they have left."""
        own = self._end_gradients.get(self._parts[part].name)
        if own is not None:
            return own.view()
        return self._gradients[part % SLOTS].view()

    def stream(self, layer: int) -> View:
        """Input of block `layer`; of the number of layers, the output of the last."""
        return self._x[layer % len(self._x)].view()

    def saved(self, names: Sequence[str]) -> dict[str, View]:
        """Places of the activations of the block that is being computed."""
        return {name: self._saved[name].view() for name in names}

    def activation(self, layer: int, name: str) -> View:
        """The place of one activation of a block, its input too."""
        return self.stream(layer) if name == "x" else self._saved[name].view()

    def forward(self, build: PlanBuilder, layer: int, names: Sequence[str]) -> None:
        """Block `layer`; what is to be swapped goes to its places."""
        self.stage.forward(
            build, layer, self.weights(layer + 1), self.stream(layer), self.stream(layer + 1), self.saved(names)
        )

    def backward(self, build: PlanBuilder, layer: int, names: Sequence[str]) -> None:
        """Block `layer` backwards; what was not swapped is computed again."""
        self.stage.backward(
            build, layer, self.weights(layer + 1), self.stream(layer), self.saved(names), self.gradients(layer + 1)
        )

    def embed(self, build: PlanBuilder) -> None:
        """Token ids to the input of the first block."""
        self.stage.embed(build, self.weights(0), self.ids, self.stream(0))

    def loss(self, build: PlanBuilder, layers: int) -> None:
        """Loss and the gradient of the last block's output."""
        self.stage.loss(
            build, self._head, self.embedding_at_loss(), self.stream(layers), self.targets,
            self.gradients(layers + 1), self.gradients(0),
        )  # fmt: skip

    def embed_backward(self, build: PlanBuilder) -> None:
        """Completes the gradients of the embedding."""
        self.stage.embed_backward(build, self.ids, self.gradients(0))
