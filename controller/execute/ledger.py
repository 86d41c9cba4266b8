"""What every resource, queue and kind of op did, summed up while a run goes on."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from controller.execute.outcome import OpTimes, ResourceUse
from controller.execute.template import Bound, Template
from controller.fabric.loads import Fabric
from controller.fabric.parts import Resource

FloatArray = npt.NDArray[np.float64]


def _kind(fabric: Fabric, resource: Resource) -> str:
    """What a resource is a part of: tier, port or link."""
    if not resource.owner:
        return "link"
    return "tier" if resource.part in fabric.topology.devices[resource.owner].spec.tiers else "port"


@dataclass(frozen=True, slots=True)
class _Counted:
    """One execution: amount of each resource, time and ops of each queue, time and ops of each label."""

    amount: FloatArray
    held_s: FloatArray
    ran: npt.NDArray[np.int64]
    labels: tuple[str, ...]
    label_s: list[float]
    label_count: list[int]


class Ledger:
    """Sums over all plans of a run; arrays only, since a generation has a million ops."""

    def __init__(self, fabric: Fabric) -> None:
        self._fabric = fabric
        self._amount = np.zeros(len(fabric.resource_names))
        self._held = np.zeros(len(fabric.queue_names))
        self._ran = np.zeros(len(fabric.queue_names))
        self._label_s: dict[str, float] = {}
        self._label_count: dict[str, int] = {}
        self._last: _Counted | None = None

    def add(
        self, template: Template, bound: Bound, start_at: FloatArray, end_at: FloatArray, ran: npt.NDArray[np.bool_]
    ) -> None:
        """Counts one execution of a template, of which the rows of `ran` were started."""
        activities = template.activities
        moved = bound.work[template.row_of_load] * bound.load_weight
        duration = end_at - start_at
        on_queue = (activities.queue >= 0) & (activities.queue < len(self._held)) & ran
        self._last = _Counted(
            np.asarray(np.bincount(activities.load_resource, moved, len(self._amount)), np.float64),
            np.asarray(np.bincount(activities.queue[on_queue], duration[on_queue], len(self._held)), np.float64),
            np.bincount(activities.queue[on_queue], minlength=len(self._ran)),
            tuple(template.labels),
            np.bincount(template.label_of, duration, len(template.labels)).tolist(),
            np.bincount(template.label_of[ran], minlength=len(template.labels)).tolist(),
        )
        self._sum(self._last, 1)

    def again(self, times: int) -> None:
        """Counts the execution that was added last `times` more."""
        if self._last is not None:
            self._sum(self._last, times)

    def _sum(self, what: _Counted, times: int) -> None:
        self._amount += times * what.amount
        self._held += times * what.held_s
        self._ran += times * what.ran
        for label, time_s, count in zip(what.labels, what.label_s, what.label_count, strict=True):
            self._label_s[label] = self._label_s.get(label, 0.0) + times * time_s
            self._label_count[label] = self._label_count.get(label, 0) + times * count

    def resources(self, duration_s: float) -> tuple[ResourceUse, ...]:
        """Every resource and queue that was used, busiest first.

        A simplex resource is counted in shares of its time, so its amount is seconds.
        """
        uses: list[ResourceUse] = []
        for index, name in enumerate(self._fabric.resource_names):
            amount = float(self._amount[index])
            if amount > 0:
                busy_s = amount / float(self._fabric.capacity[index])
                resource = self._fabric.resources[index]
                unit = "s" if resource.side == "simplex" else "bytes"
                uses.append(ResourceUse(name, _kind(self._fabric, resource), busy_s, 0.0, amount, unit))
        for index, name in enumerate(self._fabric.queue_names):
            if self._ran[index] > 0:
                held_s, ran = float(self._held[index]), float(self._ran[index])
                uses.append(ResourceUse(name, "queue", held_s, 0.0, ran, "ops"))
        ratio = 1.0 / duration_s if duration_s > 0 else 0.0
        uses = [replace(use, busy_ratio=use.busy_s * ratio) for use in uses]
        return tuple(sorted(uses, key=lambda use: (-use.busy_s, use.name)))

    def op_times(self) -> tuple[OpTimes, ...]:
        """Time by label, longest first."""
        times = [OpTimes(label, self._label_count[label], time_s) for label, time_s in self._label_s.items()]
        return tuple(sorted(times, key=lambda entry: (-entry.time_s, entry.label)))
