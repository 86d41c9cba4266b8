"""Host and device as two servers in a row."""

import pytest

from node.hardware.issue import eager_time_s, graph_time_s


def test_short_kernels_wait_for_the_host():
    assert eager_time_s([1e-6] * 1000, 6e-6) == pytest.approx(1000 * 6e-6 + 1e-6)


def test_long_kernels_hide_it():
    assert eager_time_s([100e-6] * 1000, 6e-6, 1e-6) == pytest.approx(6e-6 + 1000 * 100e-6 + 999 * 1e-6)


def test_the_framework_costs_each_operation():
    bare, framed = eager_time_s([0.0] * 10, 2e-6), eager_time_s([0.0] * 10, 2e-6, framework_s=4e-6)
    assert bare == pytest.approx(20e-6)
    assert framed == pytest.approx(60e-6)


def test_a_graph_is_never_slower_than_the_same_kernels_launched_one_by_one():
    for kernel_s in (0.0, 1e-6, 5e-6, 1e-3):
        kernels = [kernel_s] * 50
        assert graph_time_s(kernels, 6e-6, 1.3e-6) <= eager_time_s(kernels, 6e-6, 2.4e-6)
    assert graph_time_s([1e-6, 2e-6], 6e-6, 1e-6) == pytest.approx(10e-6)
    assert graph_time_s([], 6e-6) == eager_time_s([], 6e-6) == 0.0


def test_a_host_that_may_not_run_ahead_waits_for_the_device():
    kernels = [10e-6, 0.0] * 10
    far, near = (eager_time_s(kernels, 4e-6, depth=depth) for depth in (64, 1))
    assert near > far
    with pytest.raises(ValueError, match="depth"):
        eager_time_s(kernels, 4e-6, depth=0)


def test_nothing_beats_host_or_device():
    kernels = [3e-6, 50e-6, 1e-6, 0.0, 9e-6]
    taken = eager_time_s(kernels, 5e-6, 1e-6)
    assert taken >= sum(kernels) + 4e-6
    assert taken >= 5 * 5e-6 + kernels[-1]
