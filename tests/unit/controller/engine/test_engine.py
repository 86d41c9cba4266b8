"""What the engine does in cases whose result can be written down."""

from __future__ import annotations

from math import inf, isnan

import numpy as np
import pytest

from controller.engine import (
    Activities,
    BadActivities,
    BadQueue,
    BadResource,
    Engine,
    EventBudgetSpent,
    TimeReversed,
    UnfinishedBatch,
    UnknownTicket,
)


def batch(*tasks: dict) -> Activities:
    """Activities from dicts with work, latency_s, rate_limit, queue, loads and deps."""
    loads = [task.get("loads", []) for task in tasks]
    deps = [task.get("deps", []) for task in tasks]
    return Activities(
        work=np.array([task.get("work", 0.0) for task in tasks], float),
        latency_s=np.array([task.get("latency_s", 0.0) for task in tasks], float),
        rate_limit=np.array([task.get("rate_limit", inf) for task in tasks], float),
        queue=np.array([task.get("queue", -1) for task in tasks], np.int32),
        load_start=np.cumsum([0] + [len(x) for x in loads]),
        load_resource=np.array([r for x in loads for r, _ in x], np.int32),
        load_weight=np.array([w for x in loads for _, w in x], float),
        dep_start=np.cumsum([0] + [len(x) for x in deps]),
        dep=np.array([d for x in deps for d in x], np.int32),
    )


def on(*resources: int) -> list[tuple[int, float]]:
    return [(r, 1.0) for r in resources]


def ends(engine: Engine, *tasks: dict) -> list[float]:
    ticket = engine.submit(batch(*tasks))
    engine.run()
    return engine.end_at(ticket).tolist()


def test_alone_takes_latency_and_then_work_over_capacity():
    engine = Engine()
    engine.add_resources([4.0])
    assert ends(engine, {"work": 10.0, "latency_s": 0.5, "loads": on(0)}) == [3.0]
    assert engine.now == 3.0
    assert engine.unfinished == 0


def test_flows_that_are_alike_share_and_end_together():
    engine = Engine()
    engine.add_resources([6.0])
    assert ends(engine, *[{"work": 2.0, "loads": on(0)}] * 3) == [1.0, 1.0, 1.0]
    assert engine.counts["solves"] == 1


def test_processor_sharing_of_different_sizes():
    # Sizes 1..n on a link of capacity 1: while size k is the smallest left, n - k + 1 flows share it.
    n = 50
    engine = Engine()
    engine.add_resources([1.0])
    ended = ends(engine, *[{"work": float(k), "loads": on(0)} for k in range(1, n + 1)])
    expected = np.cumsum([n - k + 1 for k in range(1, n + 1)])
    np.testing.assert_allclose(ended, expected, rtol=1e-12)


def test_a_rate_limit_leaves_the_rest_to_others():
    engine = Engine()
    engine.add_resources([10.0])
    limited, free = ends(engine, {"work": 8.0, "rate_limit": 2.0, "loads": on(0)}, {"work": 32.0, "loads": on(0)})
    assert (limited, free) == (4.0, 4.0)


def test_the_three_flow_line():
    # a crosses both links, b the first, c the second: 1 and 2. The first freezes a and b at 1/2, c gets 3/2.
    engine = Engine()
    engine.add_resources([1.0, 2.0])
    ticket = engine.submit(
        batch({"work": 1.0, "loads": on(0, 1)}, {"work": 1.0, "loads": on(0)}, {"work": 3.0, "loads": on(1)})
    )
    np.testing.assert_allclose(engine.rates(ticket), [0.5, 0.5, 1.5], rtol=1e-12)
    engine.run()
    np.testing.assert_allclose(engine.end_at(ticket), [2.0, 2.0, 2.0], rtol=1e-12)


def test_a_simplex_port_adds_up_reads_and_writes():
    # 7 GB/s of reads or 4 GB/s of writes: a total of 1 with weights 1/7e9 and 1/4e9. Fair is the same rate x for both,
    # x/7e9 + x/4e9 = 1, so x = 28e9/11.
    engine = Engine()
    engine.add_resources([1.0])
    ticket = engine.submit(batch({"work": 28e9, "loads": [(0, 1 / 7e9)]}, {"work": 28e9, "loads": [(0, 1 / 4e9)]}))
    engine.run()
    np.testing.assert_allclose(engine.end_at(ticket), [11.0, 11.0], rtol=1e-12)


def test_a_kernel_beside_a_copy_on_one_memory():
    # The kernel moves 100 B and takes 10 s alone; the copy moves 90 B over a link of 20 B/s; the memory gives 25 B/s.
    # Together: kernel 10, copy 15 B/s, so the copy ends at 6. A kernel that is bound by memory would slow down instead.
    engine = Engine()
    engine.add_resources([25.0, 20.0])
    kernel, copy = ends(engine, {"work": 100.0, "rate_limit": 10.0, "loads": on(0)}, {"work": 90.0, "loads": on(0, 1)})
    assert (kernel, copy) == (10.0, 6.0)


@pytest.mark.parametrize("ranks", [2, 5, 8])
def test_ring_all_reduce_takes_its_closed_form(ranks):
    size, bandwidth = 1e9, 50e9
    engine = Engine()
    engine.add_resources(np.full(2 * ranks, bandwidth))
    tasks = []
    for step in range(2 * (ranks - 1)):
        for k in range(ranks):
            deps = [(step - 1) * ranks + (k - 1) % ranks] if step else []
            tasks.append({"work": size / ranks, "loads": on(k, ranks + (k + 1) % ranks), "deps": deps})
    ended = ends(engine, *tasks)
    assert max(ended) == pytest.approx(2 * (ranks - 1) / ranks * size / bandwidth, rel=1e-12)


def test_dependencies_and_work_of_zero():
    engine = Engine()
    engine.add_resources([1.0])
    first = {"work": 2.0, "loads": on(0)}
    ended = ends(engine, first, {"deps": [0]}, {"latency_s": 1.0, "deps": [0, 1]}, {"deps": [2, 1]})
    assert ended == [2.0, 2.0, 3.0, 3.0]


def test_no_resources_at_all():
    assert ends(Engine(), {"work": 3.0, "rate_limit": 2.0}, {}) == [1.5, 0.0]


def test_a_load_of_weight_zero_takes_nothing():
    engine = Engine()
    engine.add_resources([1.0, 1.0])
    engine.set_capacity(1, 0.0)
    assert ends(engine, {"work": 2.0, "loads": [(0, 1.0), (1, 0.0)]}) == [2.0]


def test_one_resource_loaded_twice_by_one_flow():
    engine = Engine()
    engine.add_resources([6.0])
    assert ends(engine, {"work": 4.0, "loads": [(0, 1.0), (0, 2.0)]}) == [2.0]


def test_a_queue_starts_in_order_and_keeps_a_slot_to_the_end():
    engine = Engine()
    engine.add_queues([1, 2])
    one = [{"work": w, "rate_limit": 1.0, "latency_s": 0.5, "queue": 0} for w in (1.0, 2.0, 3.0)]
    two = [{"work": w, "rate_limit": 1.0, "queue": 1} for w in (4.0, 1.0, 2.0, 1.0)]
    ticket = engine.submit(batch(*one, *two))
    engine.run()
    assert engine.start_at(ticket).tolist() == [0.0, 1.5, 4.0, 0.0, 0.0, 1.0, 3.0]
    assert engine.end_at(ticket).tolist() == [1.5, 4.0, 7.5, 4.0, 1.0, 3.0, 4.0]


def test_the_head_of_a_queue_blocks_what_is_ready_behind_it():
    engine = Engine()
    engine.add_queues([4])
    ticket = engine.submit(
        batch(
            {"work": 5.0, "rate_limit": 1.0},
            {"work": 1.0, "rate_limit": 1.0, "queue": 0, "deps": [0]},
            {"work": 1.0, "rate_limit": 1.0, "queue": 0},
        )
    )
    engine.run()
    assert engine.start_at(ticket).tolist() == [0.0, 5.0, 5.0]


def test_a_queue_goes_on_across_batches():
    engine = Engine()
    engine.add_queues([1])
    task = {"work": 2.0, "rate_limit": 1.0, "queue": 0}
    first, second = engine.submit(batch(task)), engine.submit(batch(task))
    assert engine.run(tickets=(second, first)) == (first,)
    assert engine.run(tickets=(second,)) == (second,)
    assert engine.start_at(second).tolist() == [2.0]


def test_run_until_an_instant_or_a_ticket():
    engine = Engine()
    engine.add_resources([1.0])
    slow = engine.submit(batch({"work": 4.0, "loads": on(0)}))
    assert engine.run(until_s=1.0) == ()
    assert engine.now == 1.0
    assert engine.start_at(slow).tolist() == [0.0]
    assert isnan(engine.end_at(slow)[0])
    fast = engine.submit(batch({"work": 1.0, "loads": on(0)}))
    assert engine.run(tickets=(slow, fast)) == (fast,)
    assert engine.now == 3.0
    assert engine.run(tickets=(fast, slow)) == (fast,)
    assert engine.now == 3.0
    assert engine.run() == ()
    assert engine.now == 5.0
    assert engine.run(until_s=7.0) == ()
    assert engine.now == 7.0


def test_tickets_that_end_at_one_instant_are_returned_together_in_the_order_asked():
    engine = Engine()
    engine.add_resources([2.0])
    a, b = (engine.submit(batch({"work": 1.0, "loads": on(0)})) for _ in range(2))
    assert engine.run(tickets=(b, a)) == (b, a)


def test_an_empty_batch_has_ended():
    engine = Engine()
    ticket = engine.submit(batch())
    assert engine.run(tickets=(ticket,)) == (ticket,)
    assert engine.end_at(ticket).shape == (0,)


def test_rebinding_replaces_values_and_leaves_the_template_alone():
    engine = Engine()
    engine.add_resources([1.0])
    template = batch({"work": 1.0, "loads": on(0)}, {"work": 1.0, "rate_limit": 1.0, "deps": [0]})
    frozen = np.array([3.0, 4.0])
    frozen.setflags(write=False)
    for given, expected in (
        ({}, [1.0, 2.0]),
        ({"work": frozen}, [3.0, 7.0]),
        ({"latency_s": [1.0, 2.0]}, [2.0, 5.0]),
        ({"rate_limit": [0.5, 0.25]}, [2.0, 6.0]),
        ({"load_weight": [8]}, [8.0, 9.0]),
    ):
        start = engine.now
        ticket = engine.submit(template, **given)
        engine.run()
        assert (engine.end_at(ticket) - start).tolist() == expected
    assert template.work.tolist() == [1.0, 1.0]


def test_a_closed_loop_lives_in_the_memory_of_one_batch():
    engine = Engine()
    engine.add_resources([1.0])
    engine.add_queues([1])
    template = batch({"work": 1.0, "loads": on(0), "queue": 0}, {"work": 1.0, "loads": on(0), "queue": 0, "deps": [0]})
    for i in range(300):
        ticket = engine.submit(template)
        assert engine.run(tickets=(ticket,)) == (ticket,)
        assert engine.end_at(ticket).tolist() == [2.0 * i + 1.0, 2.0 * i + 2.0]
        engine.release(ticket)
        if i == 1:
            sizes = [len(array) for array in engine._store]
    assert [len(array) for array in engine._store] == sizes


def test_many_flows_and_resources_that_come_later():
    engine = Engine()
    engine.add_resources([1.0])
    first = engine.submit(batch(*[{"work": 1.0, "loads": on(0)}] * 1000))
    engine.run(until_s=10.0)
    more = engine.add_resources(np.full(500, 1.0))
    assert more.tolist() == list(range(1, 501))
    second = engine.submit(batch(*[{"work": 1.0, "loads": on(r)} for r in range(1, 501) for _ in range(3)]))
    engine.run()
    np.testing.assert_allclose(engine.end_at(second), 13.0, rtol=1e-12)
    np.testing.assert_allclose(engine.end_at(first), 1000.0, rtol=1e-12)


def test_a_link_degrades_fails_and_comes_back():
    # 4 B/s to 1 s, 1 B/s to 3 s, nothing to 5 s, then 2 B/s for the 4 B that are left.
    engine = Engine()
    engine.add_resources([4.0])
    ticket = engine.submit(batch({"work": 10.0, "loads": on(0)}))
    for at, capacity in ((1.0, 1.0), (3.0, 0.0), (5.0, 2.0)):
        engine.run(until_s=at)
        engine.set_capacity(0, capacity)
    assert engine.rates(ticket).tolist() == [2.0]
    engine.run()
    assert engine.end_at(ticket)[0] == pytest.approx(7.0, rel=1e-12)


def test_cancel_in_every_stage_of_life():
    engine = Engine()
    engine.add_resources([2.0])
    engine.add_queues([1])
    ticket = engine.submit(
        batch(
            {"work": 8.0, "loads": on(0)},  # 0 flows on
            {"work": 8.0, "loads": on(0), "queue": 0},  # 1 cancelled while it flows
            {"work": 1.0, "rate_limit": 1.0, "queue": 0},  # 2 cancelled in its queue
            {"work": 1.0, "rate_limit": 1.0, "queue": 0},  # 3 takes the slot of 1
            {"latency_s": 9.0},  # 4 cancelled in its latency
            {"work": 1.0, "rate_limit": 1.0, "deps": [4]},  # 5 goes on when 4 is cancelled
            {"deps": [0]},  # 6 cancelled while it waits
            {"deps": [6]},  # 7 goes on when 6 is cancelled
            {"work": 9.0, "rate_limit": 1.0},  # 8 cancelled at its own limit
        )
    )
    engine.run(until_s=2.0)
    assert all(engine.cancel(ticket, i) for i in (1, 2, 4, 6, 8))
    assert not engine.cancel(ticket, 1)
    engine.run()
    assert engine.end_at(ticket).tolist() == [5.0, 2.0, 2.0, 3.0, 2.0, 3.0, 2.0, 2.0, 2.0]
    assert engine.start_at(ticket)[3] == 2.0
    assert isnan(engine.start_at(ticket)[2])
    assert engine.cancelled(ticket).nonzero()[0].tolist() == [1, 2, 4, 6, 8]
    engine.release(ticket)


def test_cancel_before_anything_ran():
    engine = Engine()
    engine.add_queues([1])
    tasks = [{"work": 1.0, "rate_limit": 1.0, "queue": 0}] * 3
    ticket = engine.submit(batch(*tasks))
    for i in (0, 2):
        assert engine.cancel(ticket, i)
    later = engine.submit(batch(tasks[0]))
    engine.run()
    assert engine.end_at(ticket).tolist() == [0.0, 1.0, 0.0]
    assert engine.end_at(later).tolist() == [2.0]


def test_times_too_short_for_the_clock_still_end():
    engine = Engine()
    engine.add_resources([1.0])
    ticket = engine.submit(
        batch(
            {"work": 1e15, "rate_limit": 1.0},
            *[{"work": 1e-9 * k, "latency_s": 1e-9, "loads": on(0), "deps": [k - 1]} for k in range(1, 20)],
        )
    )
    engine.run()
    assert (engine.end_at(ticket) == 1e15).all()


def test_two_runs_are_equal_to_the_last_bit():
    def outcome():
        generator = np.random.default_rng(3)
        engine = Engine()
        engine.add_resources(generator.uniform(1, 3, 12))
        tasks = [
            {
                "work": w,
                "latency_s": w / 7,
                "loads": [(int(r), float(v)) for r, v in zip(rs, generator.uniform(0.1, 2, 3), strict=True)],
            }
            for w, rs in zip(generator.uniform(1, 9, 200), generator.integers(0, 12, (200, 3)), strict=True)
        ]
        ticket = engine.submit(batch(*tasks))
        engine.run()
        return engine.end_at(ticket).tobytes()

    assert outcome() == outcome()


def test_an_event_budget_ends_a_program_without_end():
    engine = Engine(event_budget=100)
    task = batch({"work": 1.0, "rate_limit": 1e30})
    with pytest.raises(EventBudgetSpent, match="100 events are spent"):
        while True:
            engine.run(tickets=(engine.submit(task),))


def test_wrong_use_is_named():
    engine = Engine()
    engine.add_resources([1.0])
    ticket = engine.submit(batch({"work": 1.0, "loads": on(0)}))
    for raised, text, call in (
        (BadResource, "capacity of new resource 1 is 0.0", lambda: engine.add_resources([1.0, 0.0])),
        (BadResource, "capacity of new resource 0 is inf", lambda: engine.add_resources([inf])),
        (BadResource, "there is no resource 1; there are 1", lambda: engine.set_capacity(1, 1.0)),
        (BadResource, "capacity of resource 0 cannot be -1.0", lambda: engine.set_capacity(0, -1.0)),
        (BadQueue, "new queue 0 has 0 slots", lambda: engine.add_queues([0])),
        (BadQueue, "new queue 1 has 1.5 slots", lambda: engine.add_queues([1, 1.5])),
        (UnknownTicket, "ticket 9 was never handed out", lambda: engine.run(tickets=(9,))),
        (UnknownTicket, "ticket 9 was never handed out", lambda: engine.end_at(9)),
        (UnfinishedBatch, "1 of its activities have not ended", lambda: engine.release(ticket)),
        (BadActivities, "no activity 1; it has 1", lambda: engine.cancel(ticket, 1)),
        (TimeReversed, "cannot run until -1.0 s; it is 0.0 s", lambda: engine.run(until_s=-1.0)),
        (TimeReversed, "cannot run until nan s", lambda: engine.run(until_s=float("nan"))),
    ):
        with pytest.raises(raised, match=text):
            call()
    engine.run()
    engine.release(ticket)
    with pytest.raises(UnknownTicket, match="has been released"):
        engine.release(ticket)
