"""When nothing can happen any more the error says who waits for what."""

from __future__ import annotations

import numpy as np
import pytest

from controller.engine import Activities, Engine, EngineDeadlock, EngineNames


def tasks(deps: list[list[int]], queues: list[int], loads: list[int]) -> Activities:
    n = len(deps)
    return Activities(
        work=np.ones(n),
        latency_s=np.zeros(n),
        rate_limit=np.ones(n),
        queue=queues,
        load_start=np.cumsum([0] + [int(r >= 0) for r in loads]),
        load_resource=[r for r in loads if r >= 0],
        load_weight=[1.0 for r in loads if r >= 0],
        dep_start=np.cumsum([0] + [len(d) for d in deps]),
        dep=[d for row in deps for d in row],
    )


def test_a_failed_resource_and_whoever_waits_for_it():
    names = EngineNames(
        activity=lambda ticket, i: ("load", "compute", "store")[i],
        resource=lambda r: f"link{r}",
        queue=lambda q: f"stream{q}",
    )
    engine = Engine(names=names)
    engine.add_resources([1.0, 1.0])
    engine.set_capacity(1, 0.0)
    ticket = engine.submit(tasks([[], [0], []], [-1, 0, 0] if engine.add_queues([1]).size else [], [1, -1, -1]))
    with pytest.raises(EngineDeadlock) as caught:
        engine.run()
    text = str(caught.value)
    assert "nothing can happen after 0.0 s and 3 activities have not ended" in text
    assert "load flows at rate zero: capacity 0 of link1" in text
    assert "compute waits for load" in text
    assert "store waits in stream0 behind compute" in text
    assert caught.value.stalled == ((ticket, 0),)
    assert caught.value.waiting == ((ticket, 1), (ticket, 2))
    assert caught.value.resources == (1,)
    engine.set_capacity(1, 1.0)
    engine.run()
    assert engine.end_at(ticket).tolist() == [1.0, 2.0, 3.0]


def test_a_failed_resource_is_no_error_while_somebody_may_mend_it():
    engine = Engine()
    engine.add_resources([1.0])
    engine.set_capacity(0, 0.0)
    engine.submit(tasks([[]], [-1], [0]))
    assert engine.run(until_s=5.0) == ()
    assert engine.now == 5.0


def test_a_cycle_of_dependencies():
    engine = Engine()
    engine.submit(tasks([[2], [0], [1]], [-1] * 3, [-1] * 3))
    with pytest.raises(EngineDeadlock) as caught:
        engine.run()
    expected = (
        "activity 0 of ticket 0 waits for activity 2 of ticket 0 waits for activity 1 of ticket 0 "
        "waits for activity 0 of ticket 0"
    )
    assert expected in str(caught.value)
    assert caught.value.stalled == ()


def test_a_queue_whose_order_contradicts_the_dependencies():
    engine = Engine()
    engine.add_queues([1])
    engine.submit(tasks([[1], []], [0, 0], [-1, -1]))
    with pytest.raises(EngineDeadlock) as caught:
        engine.run()
    assert (
        "activity 0 of ticket 0 waits for activity 1 of ticket 0 waits in queue 0 behind activity 0 of ticket 0"
        in str(caught.value)
    )


def test_a_crowd_is_summed_up():
    engine = Engine()
    engine.add_resources([1.0])
    engine.set_capacity(0, 0.0)
    engine.submit(tasks([[]] * 100, [-1] * 100, [0] * 100))
    with pytest.raises(EngineDeadlock, match="and 92 more that flow at rate zero") as caught:
        engine.run()
    assert len(caught.value.stalled) == 100
    assert len(str(caught.value)) < 2000


def test_a_long_chain_is_cut_in_the_middle():
    engine = Engine()
    engine.add_resources([1.0])
    engine.set_capacity(0, 0.0)
    n = 2000
    engine.submit(tasks([[]] + [[i] for i in range(n - 1)], [-1] * n, [0] + [-1] * (n - 1)))
    with pytest.raises(EngineDeadlock) as caught:
        engine.run()
    lines = str(caught.value).splitlines()
    assert lines[1].strip() == "activity 0 of ticket 0 flows at rate zero: capacity 0 of resource 0"
    assert lines[2].strip() == "activity 1 of ticket 0 waits for activity 0 of ticket 0"
    assert len(caught.value.waiting) == n - 1
    assert len(str(caught.value)) < 4000
