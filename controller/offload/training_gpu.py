"""One batch of a model in training on one GPU: its tokens, its loss, and its passes over a script.

    x = gpu.embed(s, weights[0])
    for layer in range(shape.layers):
        x, made = gpu.forward(s, layer, weights[layer + 1], x, keep={"qkv": buffer})
    gradient = gpu.end(s, x, weights, gradients)
    for layer in reversed(range(shape.layers)):
        gpu.backward(s, layer, weights[layer + 1], {"x": inputs[layer], "qkv": buffer}, gradient, gradients[layer + 1])
    gpu.embed_backward(s, gradient, gradients[0])

Weights and gradients are flat parts (`controller.models.training.layout`): where they lie, when they come and when they
leave is up to the strategy.
"""

from __future__ import annotations

from collections.abc import Mapping

from controller.models.block import Block
from controller.models.ends import embed
from controller.models.training.activations import activation_kinds
from controller.models.training.layer import LSE, Activations, backward, check_trainable, forward
from controller.models.training.layout import embedding_layout, head_layout, layer_layout
from controller.models.training.loss import LOGITS_BYTES, Loss, embed_backward, rows_at_once
from controller.models.training_scenario import TrainingScenario
from controller.plan.build import Operand, as_view
from controller.plan.ops import Buffer, View
from controller.plan.script import Script, Source, Value


class TrainingGpu:
    """The passes of one batch.

    Attributes:
        shape: of the model.
        device: the GPU.
        number: among the GPUs of the run.
        ids, targets: token ids of the step, int64 (batch, seq).
        loss: of the step.
        buffers: everything that must be placed, beside the arenas of scripts.
    """

    def __init__(
        self,
        scenario: TrainingScenario,
        device: str,
        number: int = 0,
        *,
        logits_bytes: int = LOGITS_BYTES,
        whole_block: bool = False,
        gradient_scale: float = 1.0,
    ) -> None:
        """Names everything.

        Args:
            scenario: of the run.
            device: the GPU.
            number: among the GPUs of the run.
            logits_bytes: logits that are there at once, at most [bytes].
            whole_block: recompute as frameworks do that checkpoint whole blocks (`layer.backward`).
            gradient_scale: factor on every gradient, not on the loss.

        Raises:
            BadWorkload: a model that is not trained here, or too large a batch.
        """
        shape, batch, seq = scenario.shape, scenario.batch, scenario.seq
        check_trainable(shape)
        self.shape, self.device, self.number, self._whole_block = shape, device, number, whole_block
        self._dtype, self._extents = scenario.dtype, (batch, seq)
        self.ids, self.targets = (Buffer(device, "hbm", name, "int64", (batch, seq)) for name in ("ids", "targets"))
        rows = rows_at_once(shape, batch, seq, scenario.dtype, logits_bytes)
        self.loss = Loss(shape, Buffer(device, "hbm", "loss", "fp32", (1,)), rows, gradient_scale)
        self.buffers = (self.loss.value, self.ids, self.targets)
        self._layouts = {"embedding": embedding_layout(shape), "layer": layer_layout(shape), "head": head_layout(shape)}
        self._named: dict[tuple[str, View], dict[str, View]] = {}

    def activation(self, name: str, called: str) -> Buffer:
        """A buffer for one activation of a layer on this device, ``lse`` too."""
        if name == LSE:
            batch, seq = self._extents
            return Buffer(self.device, "hbm", called, "fp32", (batch, self.shape.heads, seq))
        columns = activation_kinds(self.shape)[name].columns
        return Buffer(self.device, "hbm", called, self._dtype, (*self._extents, columns))

    def embed(self, s: Script, embedding: Operand, out: View | None = None) -> Value | View:
        """The input of the first layer."""
        return embed(s, self.shape, self._tensors("embedding", embedding), self.ids, out=out)

    def forward(
        self, s: Script, layer: int, weights: Operand, x: Source, out: Source | None = None,
        keep: Mapping[str, Source] | None = None,
    ) -> tuple[Value, Activations]:  # fmt: skip
        """The stream behind a layer, in `out` where that is given, and the activations of the layer."""
        return forward(s, Block(self.shape, layer, self._tensors("layer", weights)), x, out, keep)

    def end(
        self, s: Script, x: Value | View, head: Operand, embedding: Operand, head_gradients: Operand,
        embedding_gradients: Operand,
    ) -> Value:  # fmt: skip
        """Loss of the batch, gradients of the head, and the gradient of `x`, which `backward` replaces."""
        return self.loss.emit(
            s, x, self.targets, self._tensors("embedding", embedding), self._tensors("head", head),
            self._tensors("embedding", embedding_gradients), self._tensors("head", head_gradients),
        )  # fmt: skip

    def backward(
        self, s: Script, layer: int, weights: Operand, there: Mapping[str, Source], gradient: Value, gradients: Operand
    ) -> None:
        """A layer backwards, from ``x`` and what else is `there`."""
        block, filled = Block(self.shape, layer, self._tensors("layer", weights)), self._tensors("layer", gradients)
        backward(s, block, there, gradient, filled, whole_block=self._whole_block)

    def embed_backward(self, s: Script, gradient: Value, gradients: Operand) -> None:
        """Completes the gradients of the embedding."""
        embed_backward(s, self.shape, self.ids, gradient, self._tensors("embedding", gradients))

    def _tensors(self, part: str, flat: Operand) -> dict[str, View]:
        """Tensors of a flat part; parts take turns in few places, so that most are known."""
        known = part, as_view(flat)
        found = self._named.get(known)
        if found is None:
            found = self._named[known] = self._layouts[part].tensors(flat)
        return found
