"""Refuses what a script cannot use, before it is noted; strategies are users' code, which no type checker has seen."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping

from controller.plan.author import refuse
from controller.plan.ops import MAX_RANK, Buffer, OpAttribute, View
from controller.plan.signature import Kind, Kinds
from controller.plan.size import Affine
from controller.plan.value import Place, Value, extents
from node.hardware.operation import ITEM_BYTES

_NAME = re.compile(r"[A-Za-z0-9._/-]{1,80}\Z")


def check_name(what: str, name: object) -> None:
    """Refuses a name that the buffers of values could not have."""
    if not isinstance(name, str) or not _NAME.match(name):
        refuse(f"the {what} {name!r} is not allowed; use up to 80 letters, digits and ._-/")


def check_script_name(name: object) -> None:
    """Refuses a name of a script, where blanks may be, that its arenas could not have."""
    check_name("name of a script", name.replace(" ", "_") if isinstance(name, str) else name)


def check_bounds(bounds: Mapping[str, int]) -> None:
    """Refuses a bound that is no whole number."""
    for symbol, most in bounds.items():
        if not _is_count(most):
            refuse(f"the bound of {symbol!r} is {most!r}; give the largest number that it may be, 0 or more")


def check_place(what: str, place: object) -> Place:
    """`place`, if it is one."""
    if not isinstance(place, Place):
        refuse(f"{what} got the place {place!r}; give Place(device, tier)")
    return place


def check_kind(what: str, kind: object) -> Kind:
    """`kind`, if it is an element type and a tuple of extents."""
    if not isinstance(kind, tuple) or len(kind) != 2:
        refuse(f"{what} got {kind!r} for a result; give (dtype, (extent, ...))")
    dtype, shape = kind
    if not isinstance(dtype, str) or dtype not in ITEM_BYTES:
        refuse(f"{what} got the unknown dtype {dtype!r}; known are {', '.join(ITEM_BYTES)}")
    if not isinstance(shape, tuple) or len(shape) > MAX_RANK:
        refuse(f"{what} got the shape {shape!r}; write a tuple of at most {MAX_RANK} extents")
    for extent in shape:
        if not isinstance(extent, Affine) and not _is_count(extent):
            refuse(f"{what} got the shape {shape!r}; every extent is a whole number of 0 or more, or an open size")
    return dtype, shape


def check_kinds(what: str, makes: object) -> Kinds:
    """The kinds of ``makes=``."""
    if not isinstance(makes, list | tuple):
        refuse(f"{what} got makes={makes!r}; give a list with (dtype, shape) of each result")
    return tuple([check_kind(what, kind) for kind in makes])


def check_outs(op: str, out: object) -> Collection[Value | Buffer | View | None]:
    """What ``out=`` names, one or several, as a collection."""
    if isinstance(out, Value | Buffer | View):
        return (out,)
    if not isinstance(out, list | tuple):
        refuse(f"{op} got out={out!r}; give a buffer, a view or an empty value, or a list of them")
    return out


def check_target(target: object) -> None:
    """Refuses what a transfer cannot go to."""
    if not isinstance(target, Value | Buffer | View):
        refuse(f"move goes to {target!r}; give Place(device, tier), a buffer, a view or an empty value")


def check_lists(sources: object, to: object) -> None:
    """Refuses a transfer without a source or a destination."""
    for what, given in (("sources", sources), ("destinations", to)):
        if not isinstance(given, list | tuple) or not given:
            refuse(f"a transfer got the {what} {given!r}; give a list of at least one, or use move")


def check_after(after: Iterable[int], count: int) -> tuple[int, ...]:
    """The ops of ``after=``, each one of the `count` that are there."""
    given: object = after
    if not isinstance(given, Iterable):
        refuse(f"after={given!r} is not a list; write after=[op], with the number of an earlier op")
    ops = tuple(after)
    for op in ops:
        if not _is_count(op) or op >= count:
            known = f"one of 0 to {count - 1}" if count else "none is there yet"
            refuse(f"after= names op {op!r}; give the number of an earlier op ({known}), its s.count before it")
    return ops


def check_texts(op: object, queue: object, label: object) -> None:
    """Refuses names that are no text."""
    for what, given in (("operation", op), ("queue", queue), ("label", label)):
        if not isinstance(given, str):
            refuse(f"the {what} {given!r} is not a text; write its name in quotes")


def check_attributes(op: str, attributes: Mapping[str, OpAttribute]) -> None:
    """Refuses an attribute of a type that no op takes; for the slow path, since nearly all are right."""
    for name, value in attributes.items():
        try:
            hash(value)
        except TypeError:
            refuse(f"{op}: attribute {name!r} is {value!r}; write a number, a text, or a tuple of numbers")


def check_bytes(source: Kind, target: Kind) -> None:
    """Refuses a move onto something of another size, where both sizes are known."""
    sizes = []
    for dtype, shape in (source, target):
        nbytes = ITEM_BYTES[dtype]
        for extent in shape:
            if isinstance(extent, Affine):
                return
            nbytes *= extent
        sizes.append(nbytes)
    if sizes[0] != sizes[1]:
        sent, room = (
            f"{nbytes} bytes ({kind[0]} {extents(kind[1])})"
            for nbytes, kind in zip(sizes, (source, target), strict=True)
        )
        refuse(f"{sent} leave and {room} arrive; move to a place of the same size")


def check_count(op: str, named: int, made: int) -> None:
    """Refuses an ``out=`` that names more or fewer results than there are."""
    if named != made:
        refuse(f"{op} makes {made} results and out= names {named}; name each, None for one to make")


def check_values(values: object) -> Iterable[Value]:
    """Refuses one value where several are expected."""
    if not isinstance(values, Iterable):
        refuse(f"keep got {values!r}; give a list of values")
    return values


def check_turns(name: object, turn: object, turns: object) -> None:
    """Refuses turns that cannot alternate."""
    check_name("name of staging", name)
    if not _is_count(turn):
        refuse(f"staging got the turn {turn!r}; give the number of the iteration, 0 or more")
    if not _is_count(turns) or not turns:
        refuse(f"staging got {turns!r} turns; give how many lie apart, 1 or more")


def check_own(script: object, verb: str, value: object) -> None:
    """Refuses what is no value of `script`."""
    if not isinstance(value, Value):
        refuse(f"{verb} got {value!r}; give a value that this script made")
    if value.script is not script:
        refuse(f"{verb} got a value of another script; give one that this script made")


def _is_count(number: object) -> bool:
    return isinstance(number, int) and not isinstance(number, bool) and number >= 0
