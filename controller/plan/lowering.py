"""From values to a plan: every value gets an address, every op its edges.

One pass in the order of emission. A value that is made by one op and read whole knows its maker and its readers, which
is all that edges need; values that ops fill or read in parts, and buffers, go through the ledger of `hazards.py`.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Container, Sequence
from typing import NoReturn

from controller.errors import BadPlan
from controller.plan.arena import Arena, Users
from controller.plan.author import at
from controller.plan.emitted import ArenaKey, Launch, Made, Move, Operand
from controller.plan.hazards import Hazards
from controller.plan.ops import Buffer, Kernel, Op, Origin, Plan, Transfer, View, vouched
from controller.plan.size import Affine, Size
from controller.plan.value import Value, extents
from node.hardware.operation import ITEM_BYTES


class Arenas:
    """Buffers that the values of scripts lie in; scripts whose plans never run at the same time may share them.

    Attributes:
        name: begins the names of the buffers.
        buffers: the current buffers, which must be placed before a plan over them is submitted.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self._buffers: dict[tuple[ArenaKey, int], Buffer] = {}
        self._outgrown: dict[tuple[ArenaKey, int], int] = {}

    @property
    def buffers(self) -> tuple[Buffer, ...]:
        """The current buffers, in the order in which they were needed first."""
        return tuple(self._buffers.values())

    def buffer(self, key: ArenaKey, nbytes: int, slot: int = 0) -> Buffer:
        """The buffer of an arena, with room for `nbytes`; a larger one takes the place of one that is too small."""
        place, dtype, microbatch = key
        found = self._buffers.get((key, slot))
        if found is None or found.nbytes < nbytes:
            generation = 0 if found is None else self._outgrown.get((key, slot), 0) + 1
            self._outgrown[key, slot] = generation
            parts = [self.name, dtype, str(microbatch), *([f"open{slot}"] if slot else [])]
            if generation:
                parts.append(f"larger{generation}")
            found = Buffer(place.device, place.tier, ".".join(parts), dtype, (-(-nbytes // ITEM_BYTES[dtype]),))
            self._buffers[key, slot] = found
        return found


class _Homes:
    """Addresses of values and the ops that touch them, during the pass."""

    def __init__(self, made: Sequence[Made]) -> None:
        count = len(made)
        self.made = made
        self.rooms: dict[ArenaKey, Arena] = {}
        self.slot_bytes: dict[ArenaKey, list[int]] = {}
        """Sizes of the buffers of open values, by slot from 1 on."""
        self.offsets = [0] * count
        self.slots = [0] * count
        """Slot of an open value; 0 for those in an arena."""
        self.makers = [-1] * count
        self.readers: list[list[int]] = [[] for _ in range(count)]
        self.before: list[Users] = [()] * count
        """Ops that used the bytes of a value before it."""
        self._free: dict[ArenaKey, list[tuple[int, Users]]] = {}

    def take(self, number: int) -> None:
        """Gives a value an address; an open one the first free buffer that is large enough."""
        made = self.made[number]
        key = made.arena
        if not made.is_open:
            room = self.rooms.get(key)
            if room is None:
                room = self.rooms[key] = Arena()
            if made.nbytes:
                self.offsets[number], self.before[number] = room.take(made.nbytes)
            return
        sizes, free = self.slot_bytes.setdefault(key, []), self._free.setdefault(key, [])
        for index, (slot, users) in enumerate(free):
            if sizes[slot - 1] >= made.nbytes:
                del free[index]
                self.slots[number], self.before[number] = slot, users
                return
        sizes.append(made.nbytes)
        self.slots[number] = len(sizes)

    def give(self, number: int, users: Users) -> None:
        """Frees the address of a value that `users` touched."""
        made = self.made[number]
        key = made.arena
        if made.is_open:
            insort(self._free[key], (self.slots[number], users))
        elif made.nbytes:
            self.rooms[key].give(self.offsets[number], made.nbytes, users)


def lower(
    name: str,
    emitted: Sequence[Launch | Move],
    made: Sequence[Made],
    written: Container[Buffer],
    arenas: Arenas,
) -> Plan:
    """The plan of a script's ops.

    Args:
        name: of the plan.
        emitted: ops in the author's order.
        made: values, by number.
        written: the buffers that some op writes.
        arenas: give the buffers.
    """
    homes = _Homes(made)
    after = _edges(emitted, made, written, homes)
    buffers = {(key, 0): arenas.buffer(key, room.nbytes) for key, room in homes.rooms.items()}
    for key, sizes in homes.slot_bytes.items():
        buffers |= {(key, slot): arenas.buffer(key, nbytes, slot) for slot, nbytes in enumerate(sizes, 1)}
    views: dict[object, View] = {}

    def place(operand: Operand) -> View:
        if type(operand) is not Value:
            return operand  # type: ignore[return-value]
        number = operand.number
        offset = operand.offset_bytes + homes.offsets[number]
        where = made[number].arena, homes.slots[number]
        known = (where, offset, operand.shape)
        found = views.get(known)
        if found is None:
            # Layers repeat their addresses, so that most views are made once.
            found = views[known] = View(buffers[where], offset, operand.shape)
        return found

    ops: list[Op] = []
    parameters: dict[str, None] = {}
    for each in emitted:
        ins, outs = tuple([place(one) for one in each.inputs]), tuple([place(one) for one in each.outputs])
        if type(each) is Launch:
            ops.append(Kernel(each.op, each.device, ins, outs, each.attributes, each.queue, each.label))
            for value in each.attributes.values():
                if type(value) is Affine:
                    parameters[value.symbol] = None
                elif type(value) is tuple:
                    _note_open(value, parameters)
        else:
            assert isinstance(each, Move)
            limit = each.rate_limit_bytes_per_s
            ops.append(Transfer(ins, outs, each.reduction, each.queue, each.path, limit, each.label, each.connection))
        for view in (*ins, *outs):
            if type(view.offset_bytes) is Affine:
                parameters[view.offset_bytes.symbol] = None
            if view.shape is not view.buffer.shape:
                _note_open(view.shape, parameters)
    lines = tuple([each.line for each in emitted])
    return vouched(Plan(name, tuple(ops), tuple(after), frozenset(parameters), lines), Origin.BUILDER)


def _note_open(sizes: tuple[Size, ...], parameters: dict[str, None]) -> None:
    for size in sizes:
        if type(size) is Affine:
            parameters[size.symbol] = None


def _edges(
    emitted: Sequence[Launch | Move], made: Sequence[Made], written: Container[Buffer], homes: _Homes
) -> list[tuple[int, ...]]:
    """Whom every op follows; finds addresses on the way."""
    hazards = Hazards()
    parts: dict[int, Buffer] = {}
    """A parted value as a buffer of its own, for the ledger."""
    makers, readers, before = homes.makers, homes.readers, homes.before
    ending: list[list[int]] = [[] for _ in range(len(emitted) + 1)]
    for number, entry in enumerate(made):
        if entry.last >= 0:
            ending[entry.last + 1].append(number)
    users_of: dict[int, dict[int, None]] = {}
    inherited: set[int] = set()
    after: list[tuple[int, ...]] = []
    for index, each in enumerate(emitted):
        for number in ending[index]:
            if number in inherited:
                continue
            if number in users_of:
                users: Users = tuple(users_of[number])
            else:
                users = tuple(readers[number]) or (makers[number],)
            homes.give(number, users)
        waits = set(each.after)
        for one in each.inputs:
            if type(one) is not Value:
                # Weights are only read, so they order no ops.
                if one.buffer in written:  # type: ignore[union-attr]
                    hazards.read(index, one, waits)  # type: ignore[arg-type]
            elif made[one.number].parted:
                if not hazards.read(index, _as_part(one, made, parts), waits) and not made[one.number].partial:
                    _refuse_unwritten(each, index, one, made[one.number])
                users_of[one.number][index] = None
            else:
                waits.add(makers[one.number])
                readers[one.number].append(index)
        for position, one in enumerate(each.outputs):
            if type(one) is not Value:
                hazards.write(index, one, waits)  # type: ignore[arg-type]
                continue
            number, entry = one.number, made[one.number]
            if entry.first == index:
                source = _heir(each, position, index, made, inherited) if type(each) is Launch else None
                if source is not None:
                    homes.offsets[number] = homes.offsets[source]
                    inherited.add(source)
                    before[number] = tuple(readers[source])
                else:
                    homes.take(number)
            waits.update(before[number])
            if entry.parted:
                users_of.setdefault(number, {})[index] = None
                hazards.write(index, _as_part(one, made, parts), waits)
            else:
                makers[number] = index
        waits.discard(index)
        after.append(tuple(sorted(waits)))
    return after


def _heir(launch: Launch, position: int, index: int, made: Sequence[Made], inherited: set[int]) -> int | None:
    """The input whose bytes the first result of an op in place may take: one of its size that ends here."""
    if not launch.in_place or position:
        return None
    target = launch.outputs[0]
    assert type(target) is Value
    wanted = made[target.number]
    for one in reversed(launch.inputs):
        if type(one) is not Value or one.number in inherited:
            continue
        entry = made[one.number]
        if (
            entry.last == index
            and not entry.parted
            and not entry.is_open
            and not wanted.parted
            and (entry.nbytes, entry.arena) == (wanted.nbytes, wanted.arena)
        ):
            return one.number
    return None


def _refuse_unwritten(emitted: Launch | Move, index: int, value: Value, entry: Made) -> NoReturn:
    what = emitted.op if isinstance(emitted, Launch) else "move"
    label = f", {emitted.label}" if emitted.label else ""
    text = (
        f"no op has filled all of the value made here when {what} (op {index}{label}) reads shape "
        f"{extents(value.shape)} of it; fill it before"
    )
    raise BadPlan(at(entry.line, text))


def _as_part(value: Value, made: Sequence[Made], parts: dict[int, Buffer]) -> View:
    """A part of a value as a view of a buffer that stands for the value."""
    whole = parts.get(value.number)
    if whole is None:
        entry = made[value.number]
        shape = (entry.nbytes // ITEM_BYTES[value.dtype],)
        whole = parts[value.number] = Buffer("value", "of", str(value.number), value.dtype, shape)
    return View(whole, value.offset_bytes, value.shape)
