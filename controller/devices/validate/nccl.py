"""Times of nccl-tests beside the models of collectives, with the algorithm that NCCL would pick for type and size.

A file ``nccl_<n>gpu_<collective>.csv`` may hold several systems; each row names its own. A row is timed on the first
shipped topology, by name, that has as many GPUs of that product in one host and says how NCCL sees it. Rows of systems
that no topology has, of other types, collectives and numbers of GPUs are left out by line.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from controller.collectives.call import Call
from controller.collectives.choose.algorithm import choose
from controller.collectives.choose.nccl import choose_nccl, library_of
from controller.collectives.group import Group, group_of
from controller.collectives.protocol import protocols_of
from controller.collectives.table import COLLECTIVES
from controller.devices.predict.products import find_product
from controller.devices.predict.question import Prediction, Value
from controller.devices.predict.shapes import Refusal, Sheet, need_columns
from controller.devices.validate.measured import MeasuredFile, MeasuredRow, positive
from controller.errors import BadQuestion, UserError
from controller.topology.loader import load_topology
from controller.topology.schema import Topology
from controller.topology.shipped import list_topologies
from node.errors import NodeError
from node.hardware.operation import ITEM_BYTES
from node.hardware.units import GIGA, MEGA

NAME: Final = re.compile(r"nccl_(\d+)gpu_(\w+)")
COLUMNS: Final = ("system", "op_name", "nccl_dtype", "num_gpus", "message_bytes", "latency_us")
TYPES: Final[Mapping[str, str]] = {
    "half": "fp16", "bfloat16": "bf16", "float": "fp32", "double": "fp64", "int8": "int8", "int32": "int32",
    "int64": "int64",
}  # fmt: skip
"""NCCL's names of element types -> ours."""

NAMES: Final[Mapping[str, str]] = {"alltoall": "all_to_all"}
"""Collectives that nccl-tests calls otherwise than we do."""

ONE_WAY: Final[Mapping[str, str]] = {"broadcast": "chain"}
"""Collectives that NCCL makes no choice for -> what it does: a pipeline along its ring. Of its protocols the fastest is
taken."""

SMALL_BYTES: Final = 1_000_000
"""Rows are told apart here: below, latency counts [bytes]."""


@dataclass(frozen=True, slots=True)
class _Place:
    topology: Topology
    group: Group


def compared_collectives(sheet: Sheet, answer: MeasuredFile, folders: Sequence[str | Path] = ()) -> MeasuredFile:
    """`answer` with the rows of `sheet`: time of each call, measured and by the model.

    Raises:
        BadMeasurements: a column is missing.
    """
    need_columns(sheet, COLUMNS)
    rows, refusals = [], list(sheet.refusals)
    places: dict[tuple[str, int], _Place | str] = {}
    for line, cells in sheet.rows:
        try:
            rows.append(_row(line, cells, places, folders))
        except UserError as error:
            refusals.append(Refusal(f"{sheet.name}:{line}", str(error)))
    systems = ", ".join(dict.fromkeys(str(row.sizes["system"]) for row in rows))
    return replace(answer, device=systems, rows=tuple(rows), refusals=tuple(refusals))


def _row(
    line: int,
    cells: Mapping[str, str],
    places: dict[tuple[str, int], _Place | str],
    folders: Sequence[str | Path],
) -> MeasuredRow:
    system, given, nccl_type = cells["system"], cells["op_name"], cells["nccl_dtype"]
    name = NAMES.get(given, given)
    if name not in COLLECTIVES:
        raise BadQuestion(f"op_name is {given!r}; there are {', '.join((*COLLECTIVES, *NAMES))}")
    if nccl_type not in TYPES:
        raise BadQuestion(f"nccl_dtype is {nccl_type!r}; there are {', '.join(TYPES)}")
    dtype = TYPES[nccl_type]
    ranks, size = _whole("num_gpus", cells), _whole("message_bytes", cells)
    measured_s = positive("latency_us", cells) / MEGA
    if size % ITEM_BYTES[dtype]:
        raise BadQuestion(f"message_bytes is {size}, no whole number of {nccl_type} elements")
    key = (system, ranks)
    if key not in places:
        places[key] = _place(system, ranks, folders)
    place = places[key]
    if isinstance(place, str):
        raise BadQuestion(place)
    _check_physical(place, ranks, size, measured_s)
    call = Call(name, place.group, size // ITEM_BYTES[dtype], dtype)
    if name in ONE_WAY:
        best = choose(place.topology, call, (ONE_WAY[name],), protocols_of(place.topology)).best
    else:
        best = choose_nccl(place.topology, call).best
    assert best.time_s is not None, "a choice has a time"
    side = "above" if size > SMALL_BYTES else "up to"
    bound = f"{system} {nccl_type}, {side} 1 MB"
    sizes: dict[str, Value] = {"system": system, "type": nccl_type, "bytes": size}
    sizes["algorithm"] = f"{best.algorithm}/{best.protocol}"
    return MeasuredRow(line, sizes, measured_s, Prediction(best.time_s, bound, {bound: best.time_s}))


def _whole(column: str, cells: Mapping[str, str]) -> int:
    value = positive(column, cells)
    if value != int(value):
        raise BadQuestion(f"{column} is {cells[column]}; it must be a whole number")
    return int(value)


def _place(system: str, ranks: int, folders: Sequence[str | Path]) -> _Place | str:
    """The topology and group of a system, or why there is none."""
    try:
        product = find_product(system, folders).product
    except (UserError, NodeError) as error:
        return f"system {system!r}: {error}"
    for name in list_topologies():
        topology = load_topology(name, (), folders)
        if library_of(topology) is None:
            continue
        found = [device for device in topology.devices.values() if device.spec.product == product]
        for host in dict.fromkeys(device.host for device in found):
            members = [device.name for device in found if device.host == host]
            if len(members) >= ranks:
                return _Place(topology, group_of(topology, members[:ranks]))
    return f"system {system!r}: no shipped topology has {ranks} {product} in one host and the options nccl.*"


def _check_physical(place: _Place, ranks: int, size: int, measured_s: float) -> None:
    """Refuses what no link could carry: every rank must at least get in what it lacks."""
    if ranks < 2:
        return
    ports = place.topology.devices[place.group.devices[0]].spec.ports.values()
    links = [
        link.forward_bytes_per_s
        for link in place.topology.links
        if place.group.devices[0] in (link.a.vertex, link.b.vertex)
    ]
    fastest = max([*links, *(port.read_bytes_per_s for port in ports)])
    need = size * (ranks - 1) / ranks
    if need / measured_s > fastest:
        raise BadQuestion(
            f"unphysical: {need / measured_s / GIGA:.4g} GB/s into each GPU, where its fastest link carries "
            f"{fastest / GIGA:.4g} GB/s"
        )
