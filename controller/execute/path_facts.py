"""What a compiled plan says about its rows that the search for a critical path needs, found once a plan."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from controller.execute.template import Bound, Template
from controller.fabric.parts import Resource
from controller.plan.ops import Kernel, Transfer

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
Key = tuple[str, str, str, str]
"""Kind (compute, transfer, launch, waiting, delay), where, label, resource."""

MOST_KNOWN = 64
"""Groups that are kept of one template."""

LATENCY = "latency"
"""Resource of an op most of whose time passes before its first byte."""
SOFTWARE = "software path"
"""Resource of a transfer that software slows down below what the hardware could do."""


@dataclass(frozen=True, slots=True)
class PathFacts:
    """Facts about the rows of a template.

    Attributes:
        kernels, transfers: which rows are those (n).
        keys: kind, place and label of each row.
        ahead: for each row the rows that may have held it up: its edges, and those ahead of it in its queue.
        owners: device of each row, "" of one that belongs to none.
        slowest: for each row the resource that limits it when it is alone, "" where it loads none.
        fullest: for each row the resource it loads that the plan keeps busiest: where it waits when it shares.
        loaded: rows that load anything; `first_load` and `capacity` belong to them.
        first_load: index of the first load of each of these.
        capacity: of the resource of every load, in the order of the loads.
        limits: as `Bound.limits` of the binding that the facts are from.
        known: groups that were asked for; a decode loop asks for the same ones a thousand times.
    """

    kernels: npt.NDArray[np.bool_]
    transfers: npt.NDArray[np.bool_]
    keys: tuple[tuple[str, str, str], ...]
    ahead: tuple[tuple[int, ...], ...]
    owners: tuple[str, ...]
    slowest: tuple[str, ...]
    fullest: tuple[str, ...]
    loaded: npt.NDArray[np.int64]
    first_load: npt.NDArray[np.int64]
    capacity: FloatArray
    limits: Sequence[str]
    known: dict[tuple[bytes, tuple[str, ...]], tuple[tuple[Key, ...], IntArray]] = field(default_factory=dict)

    @classmethod
    def of(cls, template: Template, bound: Bound) -> PathFacts:
        """The facts of a template; where it is busiest is that of one binding of its sizes."""
        keys: list[tuple[str, str, str]] = []
        owners: list[str] = []
        fabric = template.fabric
        names = template.row_names()
        queue_of = template.activities.queue.tolist()
        for row, index in enumerate(template.op_of.tolist()):
            op = template.plan.ops[index] if index >= 0 else None
            if isinstance(op, Kernel):
                keys.append(("compute", op.device, names[row]))
                owners.append(op.device)
            elif isinstance(op, Transfer):
                ends = [f"{view.buffer.device}.{view.buffer.tier}" for view in (op.sources[0], op.destinations[0])]
                keys.append(("transfer", " -> ".join(ends), names[row]))
                owners.append("")
            elif index < 0:
                device = fabric.queue_names[queue_of[row]].split(".", 1)[0]
                keys.append(("launch", device, names[row]))
                owners.append(device)
            else:
                device = str(getattr(getattr(op, "buffer", None), "device", ""))
                keys.append(("waiting", device, names[row]))
                owners.append(device)
        kinds = np.array([key[0] for key in keys])
        activities = template.activities
        capacity = fabric.capacity[activities.load_resource]
        loaded = np.flatnonzero(np.diff(activities.load_start))
        with np.errstate(divide="ignore"):
            rate = capacity / bound.load_weight
        moved = bound.work[template.row_of_load] * bound.load_weight
        busy_s = np.bincount(activities.load_resource, moved, len(fabric.capacity)) / fabric.capacity
        return cls(
            kinds == "compute",
            kinds == "transfer",
            tuple(keys),
            template.rows_ahead,
            tuple(owners),
            _first_by(template, rate),
            _first_by(template, -busy_s[activities.load_resource]),
            loaded,
            activities.load_start[loaded],
            capacity,
            bound.limits,
        )

    def groups(self, rows: IntArray, cause: IntArray, limits: Sequence[str]) -> tuple[tuple[Key, ...], IntArray]:
        """What rows are summed up under: the different keys, and for each row the index of its own.

        Args:
            rows: of the template.
            cause: of each of them, as `resource` takes it.
            limits: of the whole template, as `Bound.limits`.
        """
        others = () if limits is self.limits else tuple(limits[row] for row in rows.tolist())
        asked = ((rows * 4 + cause).tobytes(), others)
        found = self.known.get(asked)
        if found is None:
            index: dict[Key, int] = {}
            group = [
                index.setdefault((*self.keys[row], self.resource(row, why, limits[row])), len(index))
                for row, why in zip(rows.tolist(), cause.tolist(), strict=True)
            ]
            if len(self.known) >= MOST_KNOWN:
                self.known.clear()
            found = self.known[asked] = (tuple(index), np.array(group, np.int64))
        return found

    def alone(self, bound: Bound) -> tuple[FloatArray, npt.NDArray[np.bool_]]:
        """What each row takes with nothing beside it (n) [s], and whether its own rate limit holds it then (n)."""
        most = np.full(len(self.keys), np.inf)
        with np.errstate(divide="ignore", invalid="ignore"):
            if len(self.loaded):
                most[self.loaded] = np.minimum.reduceat(self.capacity / bound.load_weight, self.first_load)
            flow_s = np.where(bound.work > 0, bound.work / np.minimum(most, bound.rate_limit), 0.0)
        return bound.latency_s + flow_s, bound.rate_limit < most

    def resource(self, row: int, cause: int, limit: str) -> str:
        """The name of what a row spent its time on.

        Args:
            row: of the template.
            cause: one of `SHARED`, `WAITED`, `LIMITED` and `FULL`.
            limit: of the row, as `Cost.limit`.
        """
        kind, where, _ = self.keys[row]
        if kind == "launch":
            return f"{where} kernel launches"
        if kind == "waiting":
            return "memory to be freed"
        if cause == SHARED and self.fullest[row]:
            return self.fullest[row]
        if cause == WAITED:
            return LATENCY
        if kind == "compute":
            if limit in _LIMITS:
                return f"{where} {_LIMITS[limit]}"
            return limit if "." in limit else f"{where}.{limit}"
        if cause == LIMITED:
            return limit or SOFTWARE
        return self.slowest[row] or LATENCY


SHARED, WAITED, LIMITED, FULL = range(4)
"""Why an op took its time: others took their part, its latency, its own rate limit, or a resource that it fills."""
_LIMITS = {
    "compute": "arithmetic",
    "power": "power limit",
    "floor": "shortest kernel",
    "delay": "fixed time",
}
"""Names of what holds back a kernel that is no tier."""


def place_of(resource: Resource) -> str:
    """A resource as people name it: without the direction, ``gpu.hbm``, ``link gpu.pcie-root``."""
    if not resource.owner:
        return f"link {resource.name.rstrip('<>')}"
    return resource.name.removesuffix(f".{resource.side}")


def _first_by(template: Template, score: FloatArray) -> tuple[str, ...]:
    """For each row the place of its load of the lowest score; "" of a row that loads nothing."""
    found = [""] * template.activities.count
    order = np.lexsort((score, template.row_of_load))
    rows = template.row_of_load[order]
    places = [place_of(resource) for resource in template.fabric.resources]
    is_first = np.concatenate([[True], rows[1:] != rows[:-1]])[: len(rows)]
    for position in np.flatnonzero(is_first).tolist():
        load = int(order[position])
        found[int(rows[position])] = places[int(template.activities.load_resource[load])]
    return tuple(found)
