"""Connections that a master allocates fill all uplinks alike, over all jobs, and what a failure leaves of them."""

from fractions import Fraction

import pytest

from controller.fabric.loads import Fabric
from controller.reproduce.c4p import (
    bandwidths,
    ceiling,
    dual_port,
    eight_jobs,
    gain,
    gpu,
    mean_of,
    one_job,
    rows,
    step_gain,
)
from controller.topology.graph import routes_of

WHOLE = 50e9


def test_every_job_gets_its_whole_bandwidth() -> None:
    assert bandwidths(eight_jobs, "c4p", 0, False) == pytest.approx([WHOLE] * 8)
    assert bandwidths(one_job, "c4p", 0, False) == pytest.approx([WHOLE])


def test_it_gains_over_ecmp_with_one_job_and_with_eight() -> None:
    assert gain(one_job) > 0.2
    assert gain(eight_jobs) > 0.2
    assert mean_of(eight_jobs, "ecmp") < WHOLE


def test_seven_of_eight_uplinks_leave_seven_eighths() -> None:
    assert ceiling() == pytest.approx(7 / 8)


def test_a_step_of_gpt_175b_gains_next_to_nothing() -> None:
    assert 0.0 <= step_gain() < 0.03 < gain(eight_jobs)


def test_the_ports_of_a_nic_send_equal_shares_left_on_left() -> None:
    topology = dual_port("c4p")
    (shares,) = Fabric(topology).spread([(gpu(0), gpu(8), 1, 0)])
    assert shares is not None
    assert [part for _, part in shares] == [Fraction(1, 2)] * 2
    paths = routes_of(topology).paths(gpu(0), gpu(8))
    ends = {(paths[number].hops[0].tail.port, paths[number].hops[-1].head.port) for number, _ in shares}
    assert ends == {("left", "left"), ("right", "right")}


def test_a_connection_keeps_its_path() -> None:
    fabric = Fabric(dual_port("c4p"))
    first = fabric.spread([(gpu(0), gpu(8), 1, 0)])
    fabric.spread([(gpu(rank), gpu(8 + rank), 1, 0) for rank in range(8)])
    assert fabric.spread([(gpu(0), gpu(8), 1, 0)]) == first


def test_recalled_figures_are_counted_nowhere() -> None:
    assert all(row.mark == "M" and row.tolerance is None for row in rows())
    # The error of a row is relative to what was published.
    assert all(row.published for row in rows())
