"""How busy every track was over a whole run, in bins: what a timeline shows where single spans would be too many.

The bins are a fixed number; when a run outgrows them two become one, so that memory does not grow with its length.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from weakref import WeakKeyDictionary

import numpy as np
import numpy.typing as npt

from controller.execute.template import Bound, Template

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
_Slots = tuple[IntArray, IntArray, IntArray, FloatArray]
BINS = 1024


@dataclass(frozen=True, slots=True)
class StripBin:
    """What one track did in one bin.

    Attributes:
        device, track: whose.
        bin: index.
        label: of the ops that took most of the busy time.
        share: of the bin that a queue was held, or of the capacity that a tier, port or link was used.
    """

    device: str
    track: str
    bin: int
    label: str
    share: float


@dataclass(slots=True)
class Strips:
    """Busy time of each (device, track, label) in each bin.

    Attributes:
        width_s: of a bin [s]; 0 before anything was added.
    """

    width_s: float = 0.0
    _index: dict[tuple[str, str, str], int] = field(default_factory=dict)
    _busy: FloatArray = field(default_factory=lambda: np.zeros((0, BINS)))
    _slots: WeakKeyDictionary[Template, _Slots] = field(default_factory=WeakKeyDictionary)
    _last: tuple[IntArray, FloatArray] | None = None

    def add(self, template: Template, bound: Bound, start_at: FloatArray, end_at: FloatArray) -> None:
        """Takes one execution of a template; rows that did not run have no length."""
        slots = self._slots.get(template)
        if slots is None:
            slots = self._slots[template] = self._slots_of(template)
        rows, lines, loads, capacity = slots
        length_s = (end_at - start_at)[rows]
        density = np.ones(len(rows))
        is_load = loads >= 0
        moved = bound.work[rows[is_load]] * bound.load_weight[loads[is_load]] / capacity[is_load]
        with np.errstate(divide="ignore", invalid="ignore"):
            density[is_load] = moved / length_s[is_load]
        taken = (length_s > 0) & (density > 0)
        rows, lines, density = rows[taken], lines[taken], density[taken]
        self._spread(lines, start_at[rows], end_at[rows], density)
        self._last = lines, length_s[taken] * density

    def again(self, start_at: float, end_at: float, times: int) -> None:
        """Takes `times` repetitions of what was added last, evenly over the interval."""
        if self._last is None or end_at <= start_at:
            return
        lines, busy_s = self._last
        total = np.bincount(lines, busy_s, len(self._index)) * times
        self._fit(end_at)
        edges = np.arange(BINS + 1) * self.width_s
        inside = np.clip(np.minimum(edges[1:], end_at) - np.maximum(edges[:-1], start_at), 0.0, None)
        self._busy[: len(total)] += np.outer(total / (end_at - start_at), inside)

    def add_span(self, device: str, track: str, label: str, start_at: float, end_at: float) -> None:
        """Takes one interval of one track."""
        line = self._line(device, track, label)
        self._spread(np.array([line]), np.array([start_at]), np.array([end_at]), np.ones(1))

    def bins(self) -> Iterator[StripBin]:
        """Every bin in which a track did anything, track by track."""
        tracks: dict[tuple[str, str], list[tuple[str, int]]] = {}
        for (device, track, label), line in self._index.items():
            tracks.setdefault((device, track), []).append((label, line))
        for (device, track), members in tracks.items():
            busy = self._busy[[line for _, line in members]]
            most, total = busy.argmax(axis=0), busy.sum(axis=0)
            for number in np.flatnonzero(total > 0).tolist():
                share = min(float(total[number]) / self.width_s, 1.0)
                yield StripBin(device, track, number, members[int(most[number])][0], share)

    def _line(self, device: str, track: str, label: str) -> int:
        line = self._index.setdefault((device, track, label), len(self._index))
        if line >= len(self._busy):
            self._busy = np.concatenate([self._busy, np.zeros((max(64, len(self._busy)), BINS))])
        return line

    def _slots_of(self, template: Template) -> _Slots:
        """Row, line, load and capacity of everything that an execution draws; load -1 for the queue of a row."""
        fabric, activities = template.fabric, template.activities
        found: list[tuple[int, int, int]] = []
        queues, resources = activities.queue.tolist(), activities.load_resource.tolist()
        starts = activities.load_start.tolist()
        for row, label in enumerate(template.row_names()):
            if fabric.is_declared(queues[row]):
                device, track = fabric.queue_names[queues[row]].split(".", 1)
                found.append((row, self._line(device, track, label), -1))
            for load in range(starts[row], starts[row + 1]):
                resource = fabric.resources[resources[load]]
                found.append((row, self._line(resource.owner or "fabric", resource.track, label), load))
        whole = np.array(found, np.int64).reshape(-1, 3)
        used = activities.load_resource[np.maximum(whole[:, 2], 0)] if len(resources) else whole[:, 2]
        return whole[:, 0], whole[:, 1], whole[:, 2], fabric.capacity[used]

    def _fit(self, end_at: float) -> None:
        """Makes the bins so wide that `end_at` lies in one of them."""
        if self.width_s == 0.0:
            self.width_s = end_at / BINS
        while end_at > BINS * self.width_s * (1 + 1e-12):
            pairs = self._busy.reshape(len(self._busy), BINS // 2, 2).sum(axis=2)
            self._busy = np.concatenate([pairs, np.zeros_like(pairs)], axis=1)
            self.width_s *= 2

    def _spread(self, lines: IntArray, start_at: FloatArray, end_at: FloatArray, density: FloatArray) -> None:
        if not len(lines) or end_at.max() <= 0:
            return
        self._fit(float(end_at.max()))
        width = self.width_s
        first = np.minimum((start_at / width).astype(np.int64), BINS - 1)
        last = np.minimum((end_at / width).astype(np.int64), BINS - 1)
        within = first == last
        np.add.at(self._busy, (lines[within], first[within]), (density * (end_at - start_at))[within])
        for index in np.flatnonzero(~within).tolist():
            busy, head, tail = self._busy[lines[index]], int(first[index]), int(last[index])
            busy[head] += density[index] * ((head + 1) * width - start_at[index])
            busy[head + 1 : tail] += density[index] * width
            busy[tail] += density[index] * (end_at[index] - tail * width)
