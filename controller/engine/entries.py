"""The three compiled functions that Python calls; everything else is compiled into them."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

import numba
import numpy as np
from numpy.typing import NDArray

from controller.engine.admission import admit_batch
from controller.engine.cancelling import cancel_activity
from controller.engine.compiled import entry, fingerprint
from controller.engine.loop import advance
from controller.engine.records import Store, empty_store


class Entries(NamedTuple):
    """Machine code with the types of its arguments fixed: nothing is looked up when it is called."""

    admit: Callable[..., tuple[int, int]]
    run: Callable[[Store, float], int]
    cancel: Callable[[Store, int], bool]


@cache
def entries() -> Entries:
    """Load the compiled functions from the cache on disk, or compile them (some 20 s, once per version)."""
    functions: list[Any] = list(_functions(fingerprint()))
    typeof: Callable[[Any], Any] = numba.typeof
    store = typeof(empty_store())
    floats, ints, longs = (typeof(np.zeros(0, kind)) for kind in (np.float64, np.int32, np.int64))
    signatures = (
        (store, floats, floats, floats, ints, longs, ints, floats, longs, ints, longs, ints),
        (store, numba.float64),
        (store, numba.int64),
    )
    return Entries(*(function.compile(types) for function, types in zip(functions, signatures, strict=True)))


def _functions(sources: int) -> tuple[Any, Any, Any]:
    # What a function closes over is part of the key of numba's cache; see `fingerprint`.
    @entry
    def admit(
        store: Store,
        work: NDArray[np.float64],
        latency_s: NDArray[np.float64],
        rate_limit: NDArray[np.float64],
        in_queue: NDArray[np.int32],
        load_start: NDArray[np.int64],
        load_resource: NDArray[np.int32],
        load_weight: NDArray[np.float64],
        dep_start: NDArray[np.int64],
        dep: NDArray[np.int32],
        places: NDArray[np.int64],
        starts: NDArray[np.int32],
    ) -> tuple[int, int]:
        if sources < 0:
            return -1, 0
        return admit_batch(
            store,
            work,
            latency_s,
            rate_limit,
            in_queue,
            load_start,
            load_resource,
            load_weight,
            dep_start,
            dep,
            places,
            starts,
        )

    @entry
    def run(store: Store, until_s: float) -> int:
        if sources < 0:
            return -1
        return advance(store, until_s)

    @entry
    def cancel(store: Store, a: int) -> bool:
        if sources < 0:
            return False
        return cancel_activity(store, a)

    return admit, run, cancel
