"""A batch of activities as plain arrays: what a program hands to the engine, once or as a template."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from controller.engine.errors import BadActivities


@dataclass(frozen=True)
class Activities:
    """Arrays of a batch of n activities, with m loads on resources and k dependencies in CSR form.

    The arrays are converted to the dtypes below when needed, and must not be written afterwards. Values are checked
    when the batch is submitted, since a template may be submitted with other values.

    Attributes:
        work: what has to flow, (n), float64, >= 0, usually [bytes].
        latency_s: paid from the start on before anything flows, (n), float64 [s], >= 0.
        rate_limit: rate of the activity alone, (n), float64, > 0 [work/s]; inf where a resource limits it.
        queue: in-order queue that it starts in, (n), int32; -1 for none.
        load_start: loads of activity i are ``load_start[i]:load_start[i + 1]``, (n + 1), int64.
        load_resource: resource of each load, (m), int32.
        load_weight: what one unit of rate takes of that resource, (m), float64, >= 0.
        dep_start: dependencies of activity i are ``dep_start[i]:dep_start[i + 1]``, (n + 1), int64.
        dep: activities of this batch that have to end before, (k), int32.

    Raises:
        BadActivities: shapes that do not fit together, or a CSR start that does not ascend from 0.
    """

    work: NDArray[np.float64]
    latency_s: NDArray[np.float64]
    rate_limit: NDArray[np.float64]
    queue: NDArray[np.int32]
    load_start: NDArray[np.int64]
    load_resource: NDArray[np.int32]
    load_weight: NDArray[np.float64]
    dep_start: NDArray[np.int64]
    dep: NDArray[np.int32]

    def __post_init__(self) -> None:
        for name, dtype in _DTYPES.items():
            object.__setattr__(self, name, row(name, getattr(self, name), dtype))
        n = self.count
        for name in ("latency_s", "rate_limit", "queue"):
            _expect(name, getattr(self, name), n)
        _check_csr("load_start", self.load_start, n, len(self.load_resource))
        _check_csr("dep_start", self.dep_start, n, len(self.dep))
        _expect("load_weight", self.load_weight, len(self.load_resource))

    @property
    def count(self) -> int:
        """How many activities, n."""
        return len(self.work)


_DTYPES: dict[str, type[np.generic]] = {
    "work": np.float64,
    "latency_s": np.float64,
    "rate_limit": np.float64,
    "queue": np.int32,
    "load_start": np.int64,
    "load_resource": np.int32,
    "load_weight": np.float64,
    "dep_start": np.int64,
    "dep": np.int32,
}


def row(name: str, values: ArrayLike, dtype: type[np.generic]) -> NDArray[Any]:
    """One contiguous array of a batch in the dtype that the engine reads.

    Raises:
        BadActivities: not one-dimensional, or numbers that the dtype cannot hold.
    """
    given = np.asarray(values)
    if given.ndim != 1:
        raise BadActivities(f"{name} has {given.ndim} dimensions and shape {given.shape}; it must be a plain row")
    if given.dtype == dtype:
        return np.ascontiguousarray(given)
    if given.size and given.dtype.kind not in ("iuf" if dtype is np.float64 else "iu"):
        raise BadActivities(f"{name} holds {given.dtype}; give {np.dtype(dtype).name}")
    converted = given.astype(dtype)
    if given.size and dtype is not np.float64 and not np.array_equal(converted, given):
        raise BadActivities(f"{name} holds numbers that {np.dtype(dtype).name} cannot hold")
    return converted


def _expect(name: str, values: NDArray[np.generic], count: int) -> None:
    if len(values) != count:
        raise BadActivities(f"{name} has {len(values)} values where {count} are needed")


def _check_csr(name: str, starts: NDArray[np.int64], rows: int, entries: int) -> None:
    _expect(name, starts, rows + 1)
    if starts[0] != 0 or starts[-1] != entries or (rows and bool((starts[1:] < starts[:-1]).any())):
        raise BadActivities(f"{name} must ascend from 0 to {entries}, the number of entries that it divides")
