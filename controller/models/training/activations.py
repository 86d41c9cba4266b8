"""What a layer's activations weigh and what it costs to make them again: what a planner chooses by.

Kinds, in the order of a forward pass, h = hidden, for a GPT layer (others differ in widths)::

    x           h    input of the layer; always kept, never recomputed
    attn_norm   h    normed x
    qkv         3h   queries, keys and values, rotated where the model rotates
    attention   h    what attention gives, before the output projection; brings ``lse`` with it (fp32, 4 B a head)
    mid         h    residual stream after attention
    ffn_norm    h    normed mid
    gate, up    4h   first projections of the feed-forward (gate in gated models only)
    act         4h   activated
    ffn_down    h    output of the feed-forward; no gradient needs it, but a recomputed whole block makes it

Together 17 h elements a token, in half precision 34 B for each unit of hidden.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from functools import lru_cache

from controller.errors import BadWorkload
from controller.models.shape import ModelShape
from controller.models.training.layout import layer_layout
from controller.models.training.recipe import LSE, Step, backward_steps, forward_steps, layer_form, tensor_columns
from node.hardware.operation import ITEM_BYTES, TensorType
from node.hardware.operations import complete_attributes, operation


@dataclass(frozen=True, slots=True)
class ActivationKind:
    """One activation of every layer.

    Attributes:
        name: as in `TrainingStage.forward` and `TrainingStage.backward`.
        columns: elements a token.
        made_from: the kinds that it is computed from.
        made_by: operations that make it from those.
    """

    name: str
    columns: int
    made_from: tuple[str, ...]
    made_by: tuple[Step, ...]

    def nbytes(self, tokens: int, dtype: str) -> int:
        """Size for `tokens` tokens of one layer [bytes]."""
        return tokens * self.columns * ITEM_BYTES[dtype]


@lru_cache(maxsize=64)
def activation_kinds(shape: ModelShape) -> dict[str, ActivationKind]:
    """Every kind by name, in the order of a forward pass."""
    columns = tensor_columns(shape)
    found = {"x": ActivationKind("x", columns["x"], (), ())}
    pending: list[Step] = []
    for step in forward_steps(shape, layer_form(shape, 0)):
        name = step.outputs[0]
        if name in found and name not in step.inputs:
            continue
        pending.append(step)
        if name in ("attention_out", "out"):
            continue
        if name in found:  # a rotation in place belongs to what it rotates
            old = found[name]
            found[name] = ActivationKind(name, old.columns, old.made_from, (*old.made_by, step))
        else:
            read = {source for one in pending for source in one.inputs}
            sources = tuple(kind for kind in found if kind in read)
            found[name] = ActivationKind(name, columns[name], sources, tuple(pending))
        pending = []
    return found


def lse_bytes(shape: ModelShape, batch: int, seq: int) -> int:
    """Size of the log-sum-exp of one layer, which is saved together with ``attention`` [bytes]."""
    return 4 * batch * shape.heads * seq


def all_activation_bytes(shape: ModelShape, tokens: int, dtype: str) -> int:
    """Size of all kinds of one layer together, without ``lse`` [bytes]."""
    return sum(kind.nbytes(tokens, dtype) for kind in activation_kinds(shape).values())


def kind_flop(shape: ModelShape, name: str, batch: int, seq: int) -> float:
    """Work of making one kind of one layer from what it is made of [FLOP].

    ``mid`` counts the output projection; ``attention`` the two products of attention (causal).
    """
    kind = activation_kinds(shape)[name]
    return sum(step_flop(shape, step, batch, seq) for step in kind.made_by)


def recompute_flop(
    shape: ModelShape, saved: Collection[str], batch: int, seq: int, *, whole_block: bool = False
) -> float:
    """Work that the backward pass of one layer does again when only `saved` and ``x`` are there [FLOP]."""
    steps = backward_steps(shape, layer_form(shape, 0), check_saved(shape, saved), whole_block)
    return sum(step_flop(shape, step, batch, seq) for step in steps if step.recomputes)


@lru_cache(maxsize=256)
def layer_forward_flop(shape: ModelShape, batch: int, seq: int) -> float:
    """Work of the forward pass of one layer [FLOP]."""
    return sum(step_flop(shape, step, batch, seq) for step in forward_steps(shape, layer_form(shape, 0)))


@lru_cache(maxsize=256)
def layer_backward_flop(shape: ModelShape, batch: int, seq: int) -> float:
    """Work of the backward pass of one layer without recomputation [FLOP]."""
    steps = backward_steps(shape, layer_form(shape, 0), frozenset(), False)
    return sum(step_flop(shape, step, batch, seq) for step in steps if not step.recomputes)


def step_flop(shape: ModelShape, step: Step, batch: int, seq: int) -> float:
    """Work of one step of a recipe, from the operation table [FLOP]."""
    inputs = tuple(_type_of(shape, name, batch, seq) for name in step.inputs)
    outputs = tuple(_type_of(shape, name, batch, seq) for name in step.outputs)
    entry = operation(step.op)
    given = {name: value for name, value in step.attributes.items() if isinstance(value, int | float | str | bool)}
    return entry.demand(inputs, outputs, complete_attributes(entry, given)).flop


def check_saved(shape: ModelShape, saved: Collection[str]) -> frozenset[str]:
    """`saved` as a set, without ``x``, which is always there.

    Raises:
        BadWorkload: no activation of that name, or ``attention`` without ``lse`` or the other way round.
    """
    kinds = activation_kinds(shape)
    chosen = frozenset(saved) - {"x"}
    for name in sorted(chosen):
        if name not in kinds and name != LSE:
            raise BadWorkload(f"{shape.name} has no activation {name!r}; there are {', '.join(kinds)} and {LSE}")
    if ("attention" in chosen) != (LSE in chosen):
        raise BadWorkload(f"saved are {', '.join(sorted(chosen))}: attention and {LSE} go together, save both or none")
    return chosen


def _type_of(shape: ModelShape, name: str, batch: int, seq: int) -> TensorType:
    """Shape of a named tensor in half precision."""
    if name == LSE:
        return TensorType((batch, shape.heads, seq), "fp32")
    if name[:2] in ("w:", "g:"):
        return TensorType(layer_layout(shape).shape_of(name[2:]), "fp16")
    return TensorType((batch, seq, tensor_columns(shape)[name]), "fp16")
