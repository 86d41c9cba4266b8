"""A GPU that a model larger than its memory passes through, part by part.

On it lie the parameters of two parts of the model, the gradients of two, the stream between blocks, and one place for
each kind of activation that leaves; the rest are values. Where a place is used again, the plan waits for the op that
used it last, kind by kind, so that a copy and the next block overlap.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from controller.models.training import Part
from controller.models.training.loss import LOGITS_BYTES
from controller.models.training_scenario import TrainingScenario
from controller.offload.striped import elements
from controller.offload.training_gpu import TrainingGpu
from controller.plan.ops import Buffer, View
from controller.plan.script import Script, Value
from controller.program.run import Run

SLOTS = 2
"""Parts whose parameters, or gradients, are on the GPU at once: one in use, one on its way."""


class PassingGpu:
    """Places of one GPU, and its passes over them.

    Attributes:
        batch: what it trains on.
        device: its name.
        number: among the GPUs of the run.
    """

    def __init__(
        self,
        scenario: TrainingScenario,
        device: str,
        number: int,
        parts: Sequence[Part],
        kept: Collection[str] = (),
        *,
        streams: int = SLOTS,
        logits_bytes: int = LOGITS_BYTES,
        gradient_scale: float = 1.0,
    ) -> None:
        """Names everything.

        Args:
            scenario: of the run.
            device: the GPU.
            number: among the GPUs of the run.
            parts: of the model.
            kept: activations that some block keeps, its input aside.
            streams: inputs of blocks that are here at once.
            logits_bytes: logits that are there at once, at most [bytes].
            gradient_scale: factor on every gradient, not on the loss.
        """
        self.device, self.number, self._parts, dtype = device, number, parts, scenario.dtype
        self.batch = TrainingGpu(
            scenario, device, number, logits_bytes=logits_bytes, whole_block=True, gradient_scale=gradient_scale
        )
        largest = max(part.layout.elements for part in parts)
        layer = max(part.layout.elements for part in parts if part.layer is not None)
        self._weights = [Buffer(device, "hbm", f"weights.{slot}", dtype, (largest,)) for slot in range(SLOTS)]
        self._gradients = [Buffer(device, "hbm", f"gradients.{slot}", dtype, (layer,)) for slot in range(SLOTS)]
        self._end_gradients = {
            part: parts[part].layout.buffer(device, "hbm", f"gradients.{parts[part].name}", dtype)
            for part in (0, len(parts) - 1)
        }
        self._head = parts[-1].layout.buffer(device, "hbm", "weights.head", dtype)
        self._streams = [self.batch.activation("x", f"x.{slot}") for slot in range(streams)]
        self._kept = {name: self.batch.activation(name, f"kept.{name}") for name in kept}

    @property
    def buffers(self) -> tuple[Buffer, ...]:
        """Everything that must be placed, beside the arenas of scripts."""
        ends = self._end_gradients.values()
        passing = (*self._weights, *self._gradients, *ends, self._head, *self._streams, *self._kept.values())
        return (*passing, *self.batch.buffers)

    def place(self, run: Run) -> None:
        """Allocates everything for the whole run."""
        for buffer in self.buffers:
            run.place(buffer, written=True)

    def weights(self, part: int) -> View:
        """Where the parameters of a part are while it is used: parts take turns, the embedding at both its uses."""
        if part == len(self._parts) - 1:
            return self._head.view()
        return self._slot(part, part)

    def embedding_at_loss(self) -> View:
        """Where the parameters of the embedding are when the loss is computed: the next turn after the last block."""
        return self._slot(len(self._parts) - 1, 0)

    def gradients(self, part: int) -> View:
        """Where the gradients of a part are until they have left."""
        return self._end_gradients.get(part, self._gradients[part % SLOTS]).view()

    def activation(self, layer: int, name: str) -> Buffer:
        """The place of one activation of a block, its input too; after the last block, that of its output."""
        return self._streams[layer % len(self._streams)] if name == "x" else self._kept[name]

    def embed(self, s: Script) -> None:
        """Token ids to the input of the first block."""
        self.batch.embed(s, self.weights(0), self.activation(0, "x").view())

    def forward(self, s: Script, layer: int, names: Sequence[str] = ()) -> None:
        """Block `layer`; the activations of these names go to their places."""
        kept = self._there(layer, names)
        self.batch.forward(s, layer, self.weights(layer + 1), kept["x"], self.activation(layer + 1, "x"), kept)

    def end(self, s: Script, layers: int) -> Value:
        """Loss, and the gradient of the last block's output."""
        x = self.activation(layers, "x").view()
        return self.batch.end(
            s, x, self._head, self.embedding_at_loss(), self.gradients(layers + 1), self.gradients(0)
        )  # fmt: skip

    def backward(self, s: Script, layer: int, gradient: Value, names: Sequence[str] = ()) -> None:
        """Block `layer` backwards; everything else is computed again."""
        there = self._there(layer, names)
        self.batch.backward(s, layer, self.weights(layer + 1), there, gradient, self.gradients(layer + 1))

    def embed_backward(self, s: Script, gradient: Value) -> None:
        """Completes the gradients of the embedding."""
        self.batch.embed_backward(s, gradient, self.gradients(0))

    def _there(self, layer: int, names: Sequence[str]) -> Mapping[str, Buffer]:
        return {name: self.activation(layer, name) for name in ("x", *names)}

    def _slot(self, turn: int, part: int) -> View:
        return elements(self._weights[turn % SLOTS], 0, self._parts[part].layout.elements)
