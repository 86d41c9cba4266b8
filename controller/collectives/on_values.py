"""Collectives inside of a script.

    sums = collective(s, "all_reduce", parts, algorithm="ring")     # a value of each rank to a value of each rank

Every algorithm of the table runs on values, on buffers and on views of them. What a rank gives may have one axis or
several; of the others than the last, one may be open. The collective acts on the tensor as it lies in memory, in units
of a column of the last axis (see `exchange.py`), so all_reduce and broadcast mean what they say for any shape, and

==============  =============================  ==========================================================
collective      rank r gives (..., columns)    rank r gets
==============  =============================  ==========================================================
all_reduce      any                            the sum, of the same shape
broadcast       any; a `Place` but at the root what the root gave
reduce_scatter  any                            (..., width of chunk r): the r-th part of the sum's bytes
all_gather      (..., width of chunk r)        (ranks, ..., width) for equal widths, else (..., columns)
all_to_all      (..., columns): chunk j for j  (..., ranks * width of chunk r): by the rank that gave it
barrier         (1)                            (ranks): the flag of rank r - i at i
==============  =============================  ==========================================================

A closed tensor whose last axis has fewer columns than there are ranks counts as flat, of one axis.
"""

from __future__ import annotations

from collections.abc import Sequence

from controller.collectives.errors import BadCall
from controller.collectives.exchange import PLAIN, Exchange, Software
from controller.collectives.group import Group
from controller.collectives.script_emitter import ScriptEmitter
from controller.collectives.sizes_of_values import Sizes, kind_of
from controller.collectives.table import algorithm as algorithm_of
from controller.collectives.table import algorithms
from controller.plan.author import author_line, refuse
from controller.plan.ops import Buffer, View
from controller.plan.script import Script, Source
from controller.plan.value import Place, Value

IN_PLACE = ("all_reduce", "broadcast")
"""Collectives whose results may take the place of what ranks gave."""


def collective(
    s: Script,
    name: str,
    values: Sequence[Source | Place],
    *,
    algorithm: str = "",
    out: Sequence[Source] | None = None,
    in_place: bool = False,
    root: int = 0,
    pieces: int = 1,
    group: Group | None = None,
    software: Software = PLAIN,
    label: str = "",
    communicator: str = "collective",
) -> list[Source]:
    """Emits a collective and returns what each rank gets.

    Args:
        s: the script.
        name: of the collective.
        values: what each rank gives, by rank; each on a device of its own.
        algorithm: of the table, or an MSCCL file; "" for the first of the table.
        out: where each rank gets its result; None for new values, which nobody has to use.
        in_place: all_reduce and broadcast leave the results in `values`.
        root: rank that a broadcast starts at, or that a star reduces on.
        pieces: independent parts of each chunk.
        group: the ranks with their hosts and switches, which some algorithms need; None for one host without a switch.
        software: what a library's call costs.
        label: of all ops; "" for what the algorithm calls them.
        communicator: whose connections the messages take.

    Raises:
        BadCall: operands, sizes or a group that the collective or the algorithm cannot have; names the caller's line.
        UnknownAlgorithm: no such collective or algorithm.
    """
    run = algorithm_of(name, algorithm or algorithms(name)[0])
    try:
        places = [_place(each) for each in values]
        members = _group(places, group)
        given = _operands(name, values, root)
        sizes = Sizes(name, [kind_of(each) for each in given])
        ranks = range(len(places))
        results = _results(s, sizes, places, given, out, in_place)
        emitter = ScriptEmitter(s)
        rooms: dict[tuple[int, str], Value] = {}

        def room(rank: int, what: str, elements: int) -> View:
            extents = sizes.extents(elements)
            if (rank, what) not in rooms:
                rooms[rank, what] = s.empty(places[rank], sizes.dtype, extents, spare=True)
            return emitter.view(rooms[rank, what], extents)

        run(
            Exchange(
                emitter,
                name,
                members,
                [emitter.view(given[rank], sizes.extents(sizes.widths[rank])) for rank in ranks],
                [emitter.view(results[rank], sizes.extents(sizes.result_width(rank))) for rank in ranks],
                room,
                sizes.count,
                sizes.dtype,
                in_place,
                root,
                pieces,
                label,
                software,
                communicator,
            )
        )
        s.keep(rooms.values())
    except BadCall as error:
        raise BadCall(f"{author_line()}: {error}") from None
    return results


def _place(given: Source | Place) -> Place:
    if isinstance(given, Place):
        return given
    if isinstance(given, Value):
        return given.place
    if not isinstance(given, Buffer | View):
        refuse(f"a collective got {given!r}; give values of this script, buffers or views of buffers")
    buffer = given if isinstance(given, Buffer) else given.buffer
    return Place(buffer.device, buffer.tier)


def _group(places: Sequence[Place], group: Group | None) -> Group:
    devices = tuple(place.device for place in places)
    if group is None:
        if not devices:
            raise BadCall("a collective of no ranks; give one value a rank")
        for rank, name in enumerate(devices):
            if name in devices[:rank]:
                raise BadCall(
                    f"ranks {devices.index(name)} and {rank} both give a value on {name}; give one value a device"
                )
        return Group(devices, tuple(place.tier for place in places))
    if group.devices != devices:
        raise BadCall(
            f"values on {', '.join(devices)} for a group of {', '.join(group.devices)}; give one value on each device "
            f"of the group, in its order"
        )
    return group


def _operands(name: str, values: Sequence[Source | Place], root: int) -> list[Source]:
    """What each rank gives; a place, allowed off the root of a broadcast, counts as what the root gives."""
    if not 0 <= root < len(values):
        raise BadCall(f"root {root} is not a rank: {name} has ranks 0 to {len(values) - 1}; choose one of them")
    found: list[Source] = []
    for rank, each in enumerate(values):
        if isinstance(each, Place):
            source = values[root]
            if name != "broadcast" or isinstance(source, Place):
                raise BadCall(f"rank {rank} of {name} gives a place ({each}) and no value; give a value")
            found.append(source)
        else:
            found.append(each)
    return found


def _results(
    s: Script,
    sizes: Sizes,
    places: Sequence[Place],
    given: Sequence[Source],
    out: Sequence[Source] | None,
    in_place: bool,
) -> list[Source]:
    """Where each rank gets its result."""
    name = sizes.collective
    if in_place and name not in IN_PLACE:
        raise BadCall(f"{name} in place; only {' and '.join(IN_PLACE)} can: remove in_place=True")
    if in_place and out is not None:
        raise BadCall(f"{name} in place and out=; give one of them")
    shapes = [sizes.result(rank) for rank in range(len(places))]
    targets = given if in_place else out
    if targets is None:
        return [s.empty(place, sizes.dtype, shape, spare=True) for place, shape in zip(places, shapes, strict=True)]
    if len(targets) != len(places):
        raise BadCall(f"{name} of {len(places)} ranks with {len(targets)} results; give out= one for each rank")
    for rank, (target, place, shape) in enumerate(zip(targets, places, shapes, strict=True)):
        if _place(target).device != place.device:
            raise BadCall(
                f"rank {rank} of {name} is {place.device}, and its result in out= lies in {_place(target)}; give one "
                f"on {place.device}"
            )
        sizes.check_result(rank, shape, kind_of(target))
    return list(targets)
