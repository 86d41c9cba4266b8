"""What a layer's activations weigh and what it costs to make them again: what a planner chooses by.

Nothing is described a second time: the layer is emitted onto a script that is never run, and the operation table's work
of its ops is added up. For a GPT layer all kinds have 17 h elements a token, h = hidden: in half precision 34 B for
each unit of hidden.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from functools import lru_cache

from controller.errors import BadWorkload
from controller.models.block import Block
from controller.models.shape import ModelShape
from controller.models.training.layer import AGAIN, LSE, Activations, backward, check_trainable, forward
from controller.models.training.layout import layer_layout
from controller.plan.emitted import Launch, Move
from controller.plan.ops import Buffer
from controller.plan.script import Script, Source
from controller.plan.value import Place, Value
from node.hardware.operation import ITEM_BYTES, TensorType
from node.hardware.operations import complete_attributes, operation

_DEVICE, _TIER = "planned", "memory"


@dataclass(frozen=True, slots=True)
class ActivationKind:
    """One activation of every layer.

    Attributes:
        name: as in `layer.Activations`.
        columns: elements a token.
    """

    name: str
    columns: int

    def nbytes(self, tokens: int, dtype: str) -> int:
        """Size for `tokens` tokens of one layer [bytes]."""
        return tokens * self.columns * ITEM_BYTES[dtype]


@lru_cache(maxsize=64)
def activation_kinds(shape: ModelShape) -> dict[str, ActivationKind]:
    """Every kind by name, in the order of a forward pass; what attention gives is projected at once and is none."""
    layer = _Dry(shape, 1, 1)
    _, made = forward(layer.script, layer.block, layer.buffer("x", shape.hidden))
    names = [name for name in made.made if name not in (LSE, "attention_out")]
    return {name: ActivationKind(name, _columns(made[name])) for name in names}


def lse_bytes(shape: ModelShape, batch: int, seq: int) -> int:
    """Size of the log-sum-exp of one layer, which is kept together with ``attention`` [bytes]."""
    return 4 * batch * shape.heads * seq


def all_activation_bytes(shape: ModelShape, tokens: int, dtype: str) -> int:
    """Size of all kinds of one layer together, without ``lse`` [bytes]."""
    return sum(kind.nbytes(tokens, dtype) for kind in activation_kinds(shape).values())


def kind_flop(shape: ModelShape, name: str, batch: int, seq: int) -> float:
    """Work of making one kind of one layer from what it is made of [FLOP].

    ``mid`` counts the output projection; ``attention`` the two products of attention (causal).
    """
    columns = {kind.name: kind.columns for kind in activation_kinds(shape).values()}
    return _flop(_made_by(shape, name, columns, batch, seq))


def recompute_flop(
    shape: ModelShape, kept: Collection[str], batch: int, seq: int, *, whole_block: bool = False
) -> float:
    """Work that the backward pass of one layer does again when only `kept` and ``x`` are there [FLOP]."""
    ops = _backward_ops(shape, check_kept(shape, kept), batch, seq, whole_block)
    return _flop(op for op in ops if op.label.endswith(AGAIN))


@lru_cache(maxsize=256)
def layer_forward_flop(shape: ModelShape, batch: int, seq: int) -> float:
    """Work of the forward pass of one layer [FLOP]."""
    layer = _Dry(shape, batch, seq)
    forward(layer.script, layer.block, layer.buffer("x", shape.hidden))
    return _flop(layer.launches)


@lru_cache(maxsize=256)
def layer_backward_flop(shape: ModelShape, batch: int, seq: int) -> float:
    """Work of the backward pass of one layer without recomputation [FLOP]."""
    ops = _backward_ops(shape, frozenset(), batch, seq, whole_block=False)
    return _flop(op for op in ops if not op.label.endswith(AGAIN))


def check_kept(shape: ModelShape, kept: Collection[str]) -> frozenset[str]:
    """`kept` as a set, without ``x``, which is always there.

    Raises:
        BadWorkload: no activation of that name, or ``attention`` without ``lse`` or the other way round.
    """
    kinds = activation_kinds(shape)
    chosen = frozenset(kept) - {"x"}
    for name in sorted(chosen):
        if name not in kinds and name != LSE:
            raise BadWorkload(f"{shape.name} has no activation {name!r}; there are {', '.join(kinds)} and {LSE}")
    if ("attention" in chosen) != (LSE in chosen):
        raise BadWorkload(f"kept are {', '.join(sorted(chosen))}: attention and {LSE} go together, keep both or none")
    return chosen


class _Dry:
    """The first layer of a model on a script that is never run, in half precision."""

    def __init__(self, shape: ModelShape, batch: int, seq: int) -> None:
        check_trainable(shape)
        self.shape, self.batch, self.seq = shape, batch, seq
        self.script, layout = Script("planned"), layer_layout(shape)
        flat = layout.buffer(_DEVICE, _TIER, "weights", "fp16")
        self.block = Block(shape, 0, layout.tensors(flat))
        self.gradients = layout.tensors(layout.buffer(_DEVICE, _TIER, "gradients", "fp16"))

    def buffer(self, name: str, columns: int) -> Buffer:
        return Buffer(_DEVICE, _TIER, name, "fp16", (self.batch, self.seq, columns))

    def kept(self, columns: dict[str, int]) -> dict[str, Source]:
        lse = Buffer(_DEVICE, _TIER, LSE, "fp32", (self.batch, self.shape.heads, self.seq))
        return {LSE: lse, **{name: self.buffer(name, count) for name, count in columns.items()}}

    @property
    def launches(self) -> list[Launch]:
        return [op for op in self.script.emitted if not isinstance(op, Move)]


def _made_by(shape: ModelShape, name: str, columns: dict[str, int], batch: int, seq: int) -> list[Launch]:
    """The ops that make one kind where all others are there."""
    layer = _Dry(shape, batch, seq)
    others = {other: count for other, count in columns.items() if other != name}
    if name != "x":
        Activations(layer.script, layer.block, layer.kept(others), {})[name]
    return layer.launches


def _backward_ops(
    shape: ModelShape, kept: frozenset[str], batch: int, seq: int, whole_block: bool
) -> list[Launch]:  # fmt: skip
    layer = _Dry(shape, batch, seq)
    columns = {kind.name: kind.columns for kind in activation_kinds(shape).values()}
    there = {name: source for name, source in layer.kept(columns).items() if name in kept or name == "x"}
    gradient = layer.script.move(layer.buffer("gradient", shape.hidden), Place(_DEVICE, _TIER))
    backward(layer.script, layer.block, there, gradient, layer.gradients, whole_block=whole_block)
    return layer.launches


def _flop(ops: Iterable[Launch]) -> float:
    """Work of ops, from the operation table [FLOP]."""
    return sum(_demand_flop(op) for op in ops)


def _demand_flop(op: Launch) -> float:
    entry = operation(op.op)
    inputs, outputs = (tuple(_type(each) for each in side) for side in (op.inputs, op.outputs))
    given = {name: value for name, value in op.attributes.items() if isinstance(value, int | float | str | bool)}
    return entry.demand(inputs, outputs, complete_attributes(entry, given)).flop


def _type(operand: Source) -> TensorType:
    dtype = operand.dtype if isinstance(operand, Value | Buffer) else operand.buffer.dtype
    return TensorType(tuple(extent for extent in operand.shape if isinstance(extent, int)), dtype)


def _columns(made: Source) -> int:
    width = made.shape[-1]
    assert isinstance(width, int), "widths are never open"
    return width
