"""Who has become slow, over two windows of steps: a short one for what is much slower, a long one for what is little.

Compute of a rank is compared with the ranks of its role in the same step, so that stages may differ; the messages of a
pair with what they took before, less what all pairs have in common. Noise is autocorrelated, so a threshold is set for
the mean over a window and not for single steps; what a pause of one step adds is trimmed.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import log

import numpy as np
from numpy.typing import NDArray

from controller.diagnosis.job_state import StepColumns

Times = NDArray[np.float64]
SHORT, LONG = 20, 100
SHORT_RATIO, LONG_RATIO = 1.384, 1.20
"""Times slower over the short and the long window: between the noise of a window (6 and 3 %, 10 % with
autocorrelation 0.8) and 1.6x and 1.33x, so that neither is missed and an hour of 256 ranks raises no alarm."""
CLEAR_RATIO = 1.10
WINDOW_NOISE = {SHORT: 0.59, LONG: 0.29}
"""Deviation of the mean over a window with autocorrelation 0.8, over that of a single step."""
QUIET_RATIO = {SHORT: 1.30, LONG: 1.18}
"""Times slower that a series without any noise must be: what others' faults do to its share of links is less."""
QUIET_FACTOR = 20.0
"""Deviations of the mean over a window that count; many, since 40 steps with autocorrelation 0.8 are worth four of
their own: of series with 8 % of noise a quarter seems to have little more than half of it."""
TRIMMED = 2
"""Steps of a short window that are left out at each end."""
MOST = log(2.0)
"""Where the logarithm of a single step is cut off."""
BASELINE = 40
"""Steps that a pair is watched before it is judged."""


@dataclass(frozen=True, slots=True)
class Slow:
    """A series that is slow now.

    Attributes:
        series: which.
        ratio: times slower, over the window that shows it.
        since: step from which on it may have been.
    """

    series: int
    ratio: float
    since: int


class Slowness:
    """Judges series of times by step.

    Args:
        columns: their logarithms; NaN where nothing was recorded.
        noise: deviation of single steps of each series (series); None for that of compute.
    """

    def __init__(self, columns: StepColumns, noise: Times | None = None) -> None:
        self._columns, self._noise = columns, noise

    def now(self) -> tuple[tuple[Slow, ...], Times]:
        """What is slow at the latest step, and how slow everything is over the short window (series)."""
        short = trimmed_mean(self._columns.latest(SHORT))
        means = {SHORT: short, LONG: self._columns.means(enough_of(LONG))}
        found: dict[int, Slow] = {}
        for window, least in ((SHORT, SHORT_RATIO), (LONG, LONG_RATIO)):
            if self._columns.last_step + 1 < window:
                continue
            enough = self._enough(window, least)
            for series in np.flatnonzero(means[window] >= enough).tolist():
                since = self._columns.last_step - window + 1
                found.setdefault(series, Slow(series, float(np.exp(means[window][series])), since))
        return tuple(found[series] for series in sorted(found)), np.exp(short)

    def _enough(self, window: int, least: float) -> Times | float:
        """How large the mean over a window must be: less for a series that hardly varies."""
        if self._noise is None:
            return log(least)
        deviation = QUIET_FACTOR * WINDOW_NOISE[window] * self._noise
        return np.clip(deviation, log(QUIET_RATIO[window]), log(least))


def enough_of(window: int) -> int:
    """Steps of a window of which something must have come."""
    return max(window * 3 // 4, 1)


def trimmed_mean(values: Times) -> Times:
    """Mean over steps without the `TRIMMED` least and largest, of series with enough steps (steps, series)."""
    ordered = np.sort(values.T, axis=1)  # NaN last; a series in a row, which is how it is fast
    counts = len(values) - np.isnan(ordered).sum(axis=1)
    if counts.all() and (counts == len(values)).all():
        return np.asarray(ordered[:, TRIMMED : len(values) - TRIMMED].mean(axis=1))
    columns = np.arange(len(values))[None, :]
    kept = (columns >= TRIMMED) & (columns < counts[:, None] - TRIMMED)
    total = np.where(kept, np.nan_to_num(ordered), 0.0).sum(axis=1)
    return np.where(counts >= enough_of(len(values)), total / np.maximum(counts - 2 * TRIMMED, 1), -np.inf)


class AgainstPeers:
    """Compute of ranks against that of their role.

    Args:
        roles: of each rank.
    """

    def __init__(self, roles: tuple[int, ...]) -> None:
        numbers = np.array(roles)
        self._members = [np.flatnonzero(numbers == role) for role in np.unique(numbers)]
        self._columns = StepColumns(len(roles), LONG)
        self.slowness = Slowness(self._columns)
        self._pending: dict[int, Times] = {}
        self._usual, self._seen = np.zeros(len(roles)), np.zeros(len(roles))

    def add(self, step: int, ranks: NDArray[np.int64], own_s: Times) -> None:
        """Adds what ranks did on their own in a step; several operations of a step add up."""
        sums = self._pending.setdefault(step, np.full(sum(map(len, self._members)), np.nan))
        sums[ranks] = np.nan_to_num(sums[ranks]) + own_s

    def close(self, before: int) -> None:
        """Takes in the steps before `before`, of which everything has come."""
        for step in sorted(each for each in self._pending if each < before):
            sums = self._pending.pop(step)
            with np.errstate(divide="ignore", invalid="ignore"):
                values = np.log(np.where(sums > 0.0, sums, np.nan))
            for members in self._members:
                own = values[members]
                known = own[np.isfinite(own)]
                values[members] = (
                    own - np.median(known) if len(members) > 2 and len(known) else self._past(own, members)
                )
            self._columns.add(step, np.arange(len(values)), np.clip(values, -MOST, MOST))

    def _past(self, own: Times, members: NDArray[np.int64]) -> Times:
        """Ranks without enough peers against their own first steps."""
        young = (self._seen[members] < BASELINE) & np.isfinite(own)
        ranks = members[young]
        self._seen[ranks] += 1
        self._usual[ranks] += (own[young] - self._usual[ranks]) / self._seen[ranks]
        return np.where(self._seen[members] < BASELINE, np.nan, own - self._usual[members])

    @property
    def pending(self) -> int:
        """The latest step of which something has come; -1 for none."""
        return max(self._pending, default=-1)


class AgainstPast:
    """Messages of pairs against what they took before."""

    def __init__(self) -> None:
        self.pairs: list[tuple[int, int, str]] = []
        self._index: dict[tuple[str, int, int], int] = {}
        self._columns: StepColumns | None = None
        self._raw: dict[int, dict[tuple[str, int, int], float] | Times] = {}
        self._baseline: Times = np.zeros(0)
        self._seen: Times = np.zeros(0)
        self._square: Times = np.zeros(0)
        self._learned: Times = np.zeros(0)
        self._old: list[tuple[int, Times]] = []
        self._cached: dict[str, tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]] = {}

    def add(self, step: int, what: str, source: NDArray[np.int64], target: NDArray[np.int64], took_s: Times) -> None:
        """Adds what messages took in a step."""
        index = self._places(what, source, target)
        row = self._raw.setdefault(step, np.full(len(self.pairs), np.nan))
        assert isinstance(row, np.ndarray)
        if len(row) < len(self.pairs):
            row = np.append(row, np.full(len(self.pairs) - len(row), np.nan))
            self._raw[step] = row
        with np.errstate(divide="ignore", invalid="ignore"):
            row[index] = np.log(np.where(took_s > 0.0, took_s, np.nan))

    def close(self, before: int) -> None:
        """Takes in the steps before `before`."""
        for step in sorted(each for each in self._raw if each < before):
            row = self._raw.pop(step)
            assert isinstance(row, np.ndarray)
            self._take(step, row)

    @property
    def slowness(self) -> Slowness | None:
        """Judges the pairs; None before they have been watched."""
        if self._columns is None:
            return None
        return Slowness(self._columns, np.sqrt(self._square / np.maximum(self._learned - 1.0, 1.0)))

    def _take(self, step: int, row: Times) -> None:
        if len(row) > len(self._baseline):
            grown = np.zeros(len(row))
            grown[: len(self._baseline)] = self._baseline
            seen = np.zeros(len(row))
            seen[: len(self._seen)] = self._seen
            self._baseline, self._seen = grown, seen
            self._square, self._learned = np.zeros(len(row)), seen.copy()
            self._columns = None
        if len(row) < len(self._baseline):
            row = np.append(row, np.full(len(self._baseline) - len(row), np.nan))
        young = self._seen < BASELINE
        known = np.isfinite(row)
        learn = young & known
        self._seen[learn] += 1
        self._learned[learn] += 1
        off = row[learn] - self._baseline[learn]
        self._baseline[learn] += off / self._seen[learn]
        self._square[learn] += off * (row[learn] - self._baseline[learn])
        if young.all():
            return
        if self._columns is None:
            self._columns = StepColumns(len(row), LONG)
        values = np.where(young, np.nan, row - self._baseline)
        finite = values[np.isfinite(values)]
        common = np.median(finite) if len(finite) > 2 else 0.0
        self._columns.add(step, np.arange(len(row)), np.clip(values - common, -MOST, MOST))
        # What is old enough to be of no window any more goes into the past of its pair.
        self._old.append((step, row))
        if len(self._old) > LONG:
            _, past = self._old.pop(0)
            usual = np.isfinite(past) & (np.abs(past - self._baseline) < log(SHORT_RATIO))
            self._seen[usual] = np.minimum(self._seen[usual] + 1, 1000.0)
            self._baseline[usual] += (past[usual] - self._baseline[usual]) / self._seen[usual]

    def _places(self, what: str, source: NDArray[np.int64], target: NDArray[np.int64]) -> NDArray[np.int64]:
        kept = self._cached.get(what)
        if kept is not None and np.array_equal(kept[0], source) and np.array_equal(kept[1], target):
            return kept[2]
        index = np.empty(len(source), np.int64)
        for number, (a, b) in enumerate(zip(source.tolist(), target.tolist(), strict=True)):
            key = (what, a, b)
            if key not in self._index:
                self._index[key] = len(self.pairs)
                self.pairs.append((a, b, what))
            index[number] = self._index[key]
        self._cached[what] = (source, target, index)
        return index
