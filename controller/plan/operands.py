"""What an op of a script is given, as values and views with their types, and where it runs."""

from __future__ import annotations

from collections.abc import Sequence

from controller.plan.author import refuse
from controller.plan.build import Operand
from controller.plan.emitted import Operand as Noted
from controller.plan.ops import Buffer, View
from controller.plan.signature import Kind, Kinds
from controller.plan.value import Place, Value


def operands(
    script: object, op: str, given: Sequence[Value | Operand], place: Place | None, whole: dict[int, View]
) -> tuple[tuple[Noted, ...], Kinds]:
    """Operands with their types.

    Args:
        script: whose values they may be.
        op: that takes them.
        given: values of the script, buffers and views.
        place: where the op runs; None for a transfer.
        whole: whole views of buffers, by identity; those of new buffers are added.

    Raises:
        BadPlan: a value of another script or on another device; names the line of the strategy.
    """
    noted: list[Noted] = []
    kinds: list[Kind] = []
    for each in given:
        if type(each) is Value:
            if each.script is not script:
                refuse(f"{op} uses a value before this script made it: it belongs to another script")
            if place is not None and each.place.device != place.device:
                refuse(f"{op} runs on {place.device}, but a value that it uses lies in {each.place}; move it first")
            noted.append(each)
            kinds.append((each.dtype, each.shape))
            continue
        if type(each) is Buffer:
            view = whole.get(id(each))
            if view is None:
                view = whole[id(each)] = View(each, 0, each.shape)
        elif type(each) is View:
            view = each
        else:
            refuse(f"{op} got {each!r}; give values of this script, buffers or views of buffers")
        noted.append(view)
        kinds.append((view.buffer.dtype, view.shape))
    return tuple(noted), tuple(kinds)


def place_of(op: str, inputs: Sequence[Value | Operand]) -> Place:
    """Where an op runs: where its first value is or, without one, its first buffer."""
    for each in inputs:
        if type(each) is Value:
            return each.place
    for each in inputs:
        if isinstance(each, Buffer | View):
            buffer = each if isinstance(each, Buffer) else each.buffer
            break
    else:
        refuse(f"{op} has no operands, so nothing says where it runs; give on=Place(device, tier)")
    return Place(buffer.device, buffer.tier)
