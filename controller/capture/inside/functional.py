"""Collectives that are operations (``torch.ops._c10d_functional``): their names and arguments."""

from __future__ import annotations

from typing import Any

FUNCTIONAL = {
    "all_reduce": "all_reduce", "all_gather_into_tensor": "all_gather", "reduce_scatter_tensor": "reduce_scatter",
    "all_to_all_single": "all_to_all", "broadcast": "broadcast", "all_gather_into_tensor_out": "all_gather",
    "isend": "send", "irecv": "recv",
}  # fmt: skip
"""Name of a functional collective to that of the process group."""


def group_name(args: Any, kwargs: Any) -> str:
    """The process group of a functional collective, which is the last text among its arguments."""
    texts = [value for value in (*args, *kwargs.values()) if isinstance(value, str)]
    return texts[-1]
