"""What a collective must give, from seeded inputs, and how many elements are wrong.

Data that is only moved must arrive bit for bit. Sums of integers must be exact, overflow included. A sum of n floats is
right when ``|ours - exact| <= n * eps * sum(|x_i|)``, with eps of the element type: any order of n - 1 additions, each
rounded to that type, stays below it (Higham, Accuracy and Stability of Numerical Algorithms, 2nd edition, section 4.2).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from controller.collectives.call import Call

Array = npt.NDArray[Any]

EPSILON = {"fp64": 2.0**-52, "fp32": 2.0**-23, "fp16": 2.0**-10, "bf16": 2.0**-7}
"""Distance from 1 to the next number of each type."""

_NUMPY: dict[str, np.dtype[Any]] = {
    name: np.dtype(numpy_name)
    for name, numpy_name in (
        ("fp64", "float64"), ("fp32", "float32"), ("fp16", "float16"), ("bf16", "float32"),
        ("int64", "int64"), ("int32", "int32"), ("int8", "int8"),
    )
}  # fmt: skip
_REDUCES = ("all_reduce", "reduce_scatter")


def seeded_input(call: Call, rank: int, seed: int = 0) -> Array:
    """What `rank` gives: drawn from `seed` and the rank.

    Returns:
        Values (elements) in numpy's type of that name; bf16 as fp32 values that bf16 holds exactly.
    """
    (elements,) = call.input(rank).shape
    assert isinstance(elements, int)
    draw = np.random.default_rng((seed, rank))
    if call.dtype in EPSILON:
        values = draw.uniform(-1.0, 1.0, elements).astype(_NUMPY[call.dtype])
        if call.dtype == "bf16":
            values = (values.view(np.uint32) & np.uint32(0xFFFF0000)).view(np.float32)
        return values
    limits = np.iinfo(_NUMPY[call.dtype])
    return draw.integers(limits.min, limits.max, elements, _NUMPY[call.dtype], endpoint=True)


def wrong_count(call: Call, rank: int, output: Array, inputs: list[Array]) -> int:
    """How many elements of the output of `rank` are wrong.

    Args:
        call: what was called.
        rank: whose output it is.
        output: as read from the device (elements); bf16 as its bits (uint16).
        inputs: of every rank, as `seeded_input` gave them.
    """
    if call.dtype == "bf16" and output.dtype == np.uint16:
        output = (output.astype(np.uint32) << np.uint32(16)).view(np.float32)
    if call.collective in _REDUCES:
        start, stop = (0, call.count) if call.collective == "all_reduce" else call.whole_chunks()[rank]
        return _wrong_sums(call, output, [values[start:stop] for values in inputs])
    expected = _moved(call, rank, inputs)
    if output.shape != expected.shape:
        return max(output.size, expected.size)
    return int(np.count_nonzero(output != expected))


def _moved(call: Call, rank: int, inputs: list[Array]) -> Array:
    """What a collective without arithmetic must leave at `rank`."""
    if call.collective == "all_gather":
        return np.concatenate(inputs)
    if call.collective == "broadcast":
        return inputs[call.root]
    if call.collective == "barrier":
        return np.concatenate([inputs[rank - distance] for distance in range(call.world_size)])
    start, stop = call.whole_chunks()[rank]
    return np.concatenate([values[start:stop] for values in inputs])


def _wrong_sums(call: Call, output: Array, inputs: list[Array]) -> int:
    if output.shape != inputs[0].shape:
        return max(output.size, inputs[0].size)
    if call.dtype not in EPSILON:
        with np.errstate(over="ignore"):
            exact = np.sum(inputs, axis=0, dtype=_NUMPY[call.dtype])
        return int(np.count_nonzero(output != exact))
    wide = [values.astype(np.float64) for values in inputs]
    limit = call.world_size * EPSILON[call.dtype] * np.sum(np.abs(wide), axis=0)
    # Not "larger than": a NaN must count as wrong.
    right = np.abs(output.astype(np.float64) - np.sum(wide, axis=0)) <= limit
    return int(np.count_nonzero(~right))
