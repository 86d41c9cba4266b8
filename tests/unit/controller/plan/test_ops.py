"""Buffers and the views into them."""

from controller.plan.bound import has_open_size, is_open, tensor_type, view_bytes
from controller.plan.ops import Buffer, Kernel, View
from controller.plan.size import symbol
from node.hardware.operation import TensorType

X = Buffer("gpu", "hbm", "x", "fp16", (4, 3, 5))


def test_sizes_and_names() -> None:
    assert X.nbytes == 4 * 3 * 5 * 2
    assert str(X) == "gpu.hbm/x"
    assert Buffer("gpu", "hbm", "none", "fp32", (0, 8)).nbytes == 0


def test_rows_are_one_range_of_bytes() -> None:
    rows = X.rows(1, 3)
    assert (rows.offset_bytes, rows.shape) == (30, (2, 3, 5))
    assert rows.reshape(6, 5) == View(X, 30, (6, 5))
    assert view_bytes(rows, {}) == 60


def test_open_extents_are_bound() -> None:
    n = symbol("n")
    view = View(X, 0, (n, 3, 5))
    assert has_open_size(view) and not has_open_size(X.view())
    assert tensor_type(view, {"n": 2}) == TensorType((2, 3, 5), "fp16")
    assert view_bytes(view, {"n": 2}) == 60


def test_offsets_alone_do_not_change_what_a_kernel_costs() -> None:
    n = symbol("n")
    moved = View(X, n * 30, (1, 3, 5))
    assert not is_open(Kernel("copy", "gpu", (moved,), (X.rows(0, 1),)))
    assert is_open(Kernel("copy", "gpu", (View(X, 0, (n, 3, 5)),), (X.view(),)))
    assert is_open(Kernel("copy", "gpu", (moved,), (moved,), {"tokens": (1, n)}))
