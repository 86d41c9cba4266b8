"""Forward and backward of one batch on one GPU, in fragments that a strategy puts its transfers between.

The stage emits kernels on views that it is given and owns only scratch: what lies where, when it comes and when it
leaves is up to the strategy. Hazards between fragments and transfers follow from the views.

    stage = TrainingStage(shape, "gpu0", batch=32, seq=1024, dtype="fp16", saves=[(), ("qkv",)])
    for buffer in stage.buffers:
        run.place(buffer, written=True)
    stage.embed(build, embedding, ids, x[0])
    for layer in range(shape.layers):
        stage.forward(build, layer, weights[layer], x[layer], x[layer + 1], saved[layer])
    stage.loss(build, head, embedding, x[-1], targets, head_gradients, embedding_gradients)
    for layer in reversed(range(shape.layers)):
        stage.backward(build, layer, weights[layer], x[layer], saved[layer], gradients[layer])
    stage.embed_backward(build, ids, embedding_gradients)

Weights and gradients are flat (`layout.py`). `stage.loss_value` holds the mean loss of the step.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from controller.errors import BadWorkload
from controller.models.shape import ModelShape
from controller.models.training.activations import activation_kinds, check_saved
from controller.models.training.ends import Ends
from controller.models.training.layout import FlatLayout, layer_layout
from controller.models.training.recipe import (
    LSE,
    LayerForm,
    Step,
    backward_steps,
    check_trainable,
    forward_steps,
    layer_form,
    tensor_columns,
)
from controller.models.training.scratch import Room, assign
from controller.plan.build import Operand, PlanBuilder, as_view
from controller.plan.ops import Buffer, View
from node.hardware.operation import ITEM_BYTES

LOGITS_BYTES = 512 * 2**20
"""Logits that are there at once, at most [bytes]; the loss of a step is computed over so many rows at a time."""


class TrainingStage:
    """One batch on one GPU.

    Attributes:
        shape, device, tier, batch, seq, dtype: as given.
        gradient: of the residual stream (batch, seq, hidden); `loss` writes it, each `backward` replaces it.
        loss_value: mean loss of the step, fp32 (1).
        buffers: everything that must be placed before the first fragment.
    """

    def __init__(
        self,
        shape: ModelShape,
        device: str,
        *,
        batch: int,
        seq: int,
        dtype: str,
        tier: str = "hbm",
        name: str = "stage",
        saves: Iterable[Collection[str]] = ((),),
        whole_block: bool = False,
        logits_bytes: int = LOGITS_BYTES,
        gradient_scale: float = 1.0,
    ) -> None:
        """Computes how much scratch the fullest moment needs.

        Args:
            shape: of the model.
            device, tier: where scratch and every view that the fragments get lie.
            batch, seq: sequences and tokens of each.
            dtype: element type of weights and activations.
            name: begins the names of the buffers.
            saves: the sets of activations that `forward` and `backward` will be given, ``x`` aside.
            whole_block: see `recipe.backward_steps`.
            logits_bytes: logits that are there at once, at most [bytes].
            gradient_scale: factor on every gradient, not on the loss: one over the number of GPUs where the gradients
                of several are added up.

        Raises:
            BadWorkload: a batch or seq below 1, a model that is not trained here, or an unknown activation.
        """
        if batch < 1 or seq < 1:
            raise BadWorkload(f"stage {name!r}: {batch} sequences of {seq} tokens, expected 1 or more of both")
        check_trainable(shape)
        self.shape, self.device, self.tier = shape, device, tier
        self.batch, self.seq, self.dtype, self.whole_block = batch, seq, dtype, whole_block
        self._layout = layer_layout(shape)
        self._columns = tensor_columns(shape)
        self._forms = tuple(layer_form(shape, layer) for layer in range(shape.layers))
        self._saves = tuple(dict.fromkeys(check_saved(shape, saved) for saved in saves))
        self._rooms: dict[tuple[str, LayerForm, frozenset[str]], tuple[tuple[Step, ...], Room]] = {}
        largest = 0
        for form in dict.fromkeys(self._forms):
            for saved in self._saves:
                for phase in ("forward", "backward"):
                    largest = max(largest, self._assign(phase, form, saved).nbytes)
        self._ends = Ends(shape, device, tier, name, batch, seq, dtype, logits_bytes, gradient_scale)
        arena = max(largest, self._ends.scratch_bytes)
        self._arena = Buffer(device, tier, f"{name}.scratch", dtype, (-(-arena // ITEM_BYTES[dtype]),))
        self._gradient = Buffer(device, tier, f"{name}.gradient", dtype, (batch, seq, shape.hidden))
        self._lse = Buffer(device, tier, f"{name}.lse", "fp32", (batch, shape.heads, seq))
        self.gradient = self._gradient.view()
        self._scratch_views: dict[tuple[int, int], View] = {}

    @property
    def tokens(self) -> int:
        """Of all sequences together."""
        return self.batch * self.seq

    @property
    def layout(self) -> FlatLayout:
        """Of the weights and gradients of a layer."""
        return self._layout

    @property
    def loss_value(self) -> Buffer:
        """Mean loss of the step, fp32 (1)."""
        return self._ends.loss_value

    @property
    def buffers(self) -> tuple[Buffer, ...]:
        """Everything that must be placed before the first fragment."""
        return (self._arena, self._gradient, self._lse, self._ends.loss_value)

    @property
    def scratch_bytes(self) -> int:
        """Size of all buffers of the stage [bytes]."""
        return sum(buffer.nbytes for buffer in self.buffers)

    def activation_shape(self, name: str) -> tuple[int, ...]:
        """Shape of an activation, ``lse`` too: that of the views in `saved`."""
        if name == LSE:
            return (self.batch, self.shape.heads, self.seq)
        return (self.batch, self.seq, activation_kinds(self.shape)[name].columns)

    def activation_buffer(self, name: str, buffer_name: str, tier: str = "") -> Buffer:
        """A buffer for one activation on this device."""
        dtype = "fp32" if name == LSE else self.dtype
        return Buffer(self.device, tier or self.tier, buffer_name, dtype, self.activation_shape(name))

    def embed(self, build: PlanBuilder, embedding: Operand, ids: Operand, x: Operand) -> None:
        """Token ids int64 (batch, seq) to `x` (batch, seq, hidden), with the flat weights of the embedding."""
        self._ends.embed(build, self._arena, embedding, as_view(ids), as_view(x))

    def forward(
        self,
        build: PlanBuilder,
        layer: int,
        weights: Operand,
        x: Operand,
        out: Operand,
        saved: Mapping[str, Operand] | None = None,
    ) -> None:
        """One layer from `x` to `out`, both (batch, seq, hidden) and not the same bytes.

        Args:
            build: takes the ops.
            layer: number of the layer.
            weights: flat weights of the layer.
            x, out: residual stream before and after.
            saved: where activations go that are to be kept, by kind; the others stay in scratch.
        """
        places = {"x": as_view(x), "out": as_view(out)}
        self._emit(build, "forward", layer, weights, None, places, saved or {})

    def backward(
        self,
        build: PlanBuilder,
        layer: int,
        weights: Operand,
        x: Operand,
        saved: Mapping[str, Operand],
        gradients: Operand,
    ) -> None:
        """One layer backwards: replaces `gradient`, that of its output, by that of `x`, and fills `gradients`.

        Args:
            build: takes the ops.
            layer: number of the layer.
            weights: flat weights of the layer.
            x: what `forward` got.
            saved: what `forward` kept, by kind; everything else is recomputed from the nearest of them.
            gradients: flat gradients of the layer, of the element type of the weights or fp32.
        """
        places = {"x": as_view(x), "gradient": self.gradient}
        self._emit(build, "backward", layer, weights, gradients, places, saved)

    def loss(
        self,
        build: PlanBuilder,
        head: Operand,
        embedding: Operand,
        x: Operand,
        targets: Operand,
        head_gradients: Operand,
        embedding_gradients: Operand,
    ) -> None:
        """Final norm, logits, mean cross-entropy and their gradients: fills `loss_value` and `gradient`.

        Args:
            build: takes the ops.
            head: flat weights of the head.
            embedding: flat weights of the embedding, read where the head is the token table.
            x: output of the last layer (batch, seq, hidden).
            targets: token ids int64 (batch, seq).
            head_gradients: flat gradients of the head, filled.
            embedding_gradients: flat gradients of the embedding; where the head is the token table its part is
                written, and `embed_backward` adds to it.
        """
        self._ends.loss(
            build, self._arena, head, embedding, as_view(x), as_view(targets), self.gradient, head_gradients,
            embedding_gradients,
        )  # fmt: skip

    def embed_backward(self, build: PlanBuilder, ids: Operand, embedding_gradients: Operand) -> None:
        """Fills the gradients of the embedding from `gradient`, adding to what a tied head has put there."""
        self._ends.embed_backward(build, as_view(ids), self.gradient, embedding_gradients)

    def _assign(self, phase: str, form: LayerForm, saved: frozenset[str]) -> Room:
        """Steps and places of one pass; found once."""
        key = (phase, form, saved)
        if key not in self._rooms:
            if phase == "forward":
                steps, kept = forward_steps(self.shape, form), {"x", "out", LSE, *saved}
            else:
                steps = backward_steps(self.shape, form, saved, self.whole_block)
                kept = {"x", "gradient", LSE, *saved}
            self._rooms[key] = steps, assign(steps, kept, self._nbytes)
        return self._rooms[key][1]

    def _nbytes(self, name: str) -> int:
        return self.tokens * self._columns[name] * ITEM_BYTES[self.dtype]

    def _emit(
        self,
        build: PlanBuilder,
        phase: str,
        layer: int,
        weights: Operand,
        gradients: Operand | None,
        places: dict[str, View],
        saved: Mapping[str, Operand],
    ) -> None:
        form, kept = self._forms[layer], frozenset(saved)
        if (phase, form, kept) not in self._rooms:
            chosen = check_saved(self.shape, kept)
            raise BadWorkload(
                f"layer {layer} saves {', '.join(sorted(chosen)) or 'nothing'}, which the stage was not told of; "
                f"it knows {[sorted(known) for known in self._saves]}: name it in `saves`"
            )
        steps, room = self._rooms[phase, form, kept]
        for name, operand in saved.items():
            places[name] = as_view(operand)
        places.setdefault(LSE, self._lse.view())
        for name, offset in room.offsets.items():
            places[name] = self._scratch(offset, self._columns[name])
        whole, flat_gradients = as_view(weights), None if gradients is None else as_view(gradients)
        layout = self._layout

        def place(name: str) -> View:
            if name not in places:
                flat = whole if name[0] == "w" else flat_gradients
                assert flat is not None, "only backward steps name gradients"
                places[name] = layout.view(flat, name[2:])
            return places[name]

        for step in steps:
            inputs, outputs = [place(name) for name in step.inputs], [place(name) for name in step.outputs]
            label = step.label or step.op
            if step.recomputes:
                label = f"{label} again"
            build.kernel(step.op, self.device, inputs, outputs, label=label, **step.attributes)

    def _scratch(self, offset: int, columns: int) -> View:
        key = (offset, columns)
        if key not in self._scratch_views:
            self._scratch_views[key] = View(self._arena, offset, (self.batch, self.seq, columns))
        return self._scratch_views[key]
