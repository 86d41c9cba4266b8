"""Flows that are moved to other resources in mid-flight: what is done stays done, and times are those by hand."""

from __future__ import annotations

import numpy as np
import pytest

from controller.engine import Activities, Engine
from controller.engine.errors import BadActivities, EngineDeadlock


def flows(loads: list[dict[int, float]], work=100.0, latency=0.0, limit=np.inf, queue=-1) -> Activities:
    count = len(loads)
    starts = np.zeros(count + 1, np.int64)
    np.cumsum([len(load) for load in loads], out=starts[1:])
    return Activities(
        np.full(count, work), np.full(count, latency), np.full(count, limit), np.full(count, queue, np.int32), starts,
        np.array([r for load in loads for r in load], np.int32), np.array([w for load in loads for w in load.values()]),
        np.zeros(count + 1, np.int64), np.zeros(0, np.int32),
    )  # fmt: skip


@pytest.fixture
def engine() -> Engine:
    made = Engine()
    made.add_resources([10.0, 10.0])
    return made


def test_a_flow_goes_on_elsewhere_with_what_is_left(engine):
    ticket = engine.submit(flows([{0: 1.0, 1: 0.0}, {0: 1.0, 1: 0.0}]))
    engine.run(until_s=4.0)  # 20 done of each, at 5/s
    assert engine.reweigh(ticket, 1, [0.0, 1.0]) == pytest.approx(80.0)
    engine.run()
    assert engine.start_at(ticket).tolist() == [0.0, 0.0]
    assert engine.end_at(ticket) == pytest.approx([12.0, 12.0])


def test_a_failed_resource_is_left_and_others_keep_their_rates(engine):
    ticket = engine.submit(flows([{0: 1.0, 1: 0.0}, {1: 1.0, 0: 0.0}]))
    engine.run(until_s=5.0)
    engine.set_capacity(0, 0.0)
    engine.run(until_s=7.0)
    assert engine.reweigh(ticket, 0, [0.0, 1.0]) == pytest.approx(50.0)
    engine.run()
    # The second has 30 left at 7 s and shares: it ends at 13 s; the first has 20 left then, alone.
    assert engine.end_at(ticket) == pytest.approx([15.0, 13.0])


@pytest.mark.parametrize("at", [0.0, 1.0, 2.0])
def test_before_it_flows_only_the_weights_change(engine, at):
    ticket = engine.submit(flows([{0: 1.0, 1: 0.0}], latency=2.0))
    engine.run(until_s=at)
    engine.set_capacity(0, 0.0)
    assert engine.reweigh(ticket, 0, [0.0, 2.0]) == 100.0
    engine.run()
    assert engine.end_at(ticket) == pytest.approx([22.0])


def test_what_its_own_limit_froze_is_moved_too(engine):
    ticket = engine.submit(flows([{0: 1.0, 1: 0.0}], limit=4.0))
    engine.run(until_s=5.0)
    assert engine.reweigh(ticket, 0, [0.0, 5.0]) == pytest.approx(80.0)
    engine.run()
    assert engine.end_at(ticket) == pytest.approx([45.0])


def test_what_has_ended_stays_ended_and_a_queue_goes_on(engine):
    engine.add_queues([1])
    ticket = engine.submit(flows([{0: 1.0, 1: 0.0}, {0: 1.0, 1: 0.0}], queue=0))
    engine.run(until_s=12.0)
    assert engine.reweigh(ticket, 0, [0.0, 1.0]) == 0.0
    assert engine.reweigh(ticket, 1, [0.0, 0.5]) == pytest.approx(80.0)
    engine.run()
    assert engine.end_at(ticket) == pytest.approx([10.0, 16.0])


def test_moved_to_and_fro_it_does_its_work_exactly_once():
    draw = np.random.default_rng(7)
    capacities = np.array([1.0, 2.0, 5.0, 9.0])
    engine = Engine()
    engine.add_resources(capacities)
    ticket = engine.submit(flows([dict.fromkeys(range(4), 0.0) | {0: 1.0}], work=200.0))
    here, left, now = 0, 200.0, 0.0
    for at in np.sort(draw.uniform(0.0, 20.0, 30)):
        engine.run(until_s=float(at))
        left -= capacities[here] * (at - now)
        here, now = int(draw.integers(4)), float(at)
        assert engine.reweigh(ticket, 0, np.eye(4)[here]) == pytest.approx(left, rel=1e-9)
    engine.run()
    assert engine.end_at(ticket) == pytest.approx([now + left / capacities[here]])


def test_among_many_others_nobody_is_lost():
    draw = np.random.default_rng(8)
    engine = Engine()
    engine.add_resources(np.full(5, 10.0))
    ticket = engine.submit(flows([dict.fromkeys(range(5), 0.0) | {int(draw.integers(5)): 1.0} for _ in range(40)]))
    for at in np.linspace(0.5, 40.0, 60):
        engine.run(until_s=float(at))
        engine.reweigh(ticket, int(draw.integers(40)), np.eye(5)[draw.integers(5)])
        rates = engine.rates(ticket)
        assert rates.sum() <= 50.0 * (1 + 1e-9)
    engine.run()
    ends = engine.end_at(ticket)
    assert not np.isnan(ends).any() and engine.unfinished == 0
    assert ends.max() >= 80.0 * (1 - 1e-9), "4000 units of work through 50 a second"


def test_weights_that_cannot_be(engine):
    ticket = engine.submit(flows([{0: 1.0, 1: 0.0}]))
    for wrong in ([1.0], [1.0, -1.0], [np.nan, 1.0], [0.0, 0.0]):
        with pytest.raises(BadActivities):
            engine.reweigh(ticket, 0, wrong)
    with pytest.raises(BadActivities):
        engine.reweigh(ticket, 1, [1.0, 0.0])
    engine.set_capacity(0, 0.0)
    with pytest.raises(EngineDeadlock):
        engine.run()
