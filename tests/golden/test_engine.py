"""Whole timelines, derived by hand.

**Two layers are computed while they are fetched, the memory degrades, and a checkpoint interferes.**

Resources: flash 8 B/s, memory 24 B/s. Queues of one slot: copy, compute. A fetch has 40 B, a latency of 1 s, and loads
flash and memory. A layer moves 100 B of memory at 20 B/s at most, after its fetch.

====  ==========================================================================================================
at    what happens
====  ==========================================================================================================
0     fetch 1 starts, and pays its latency to 1
1     fetch 1 flows at 8 (flash): 40 B take 5 s
6     fetch 1 ends; layer 1 starts and flows at 20, its limit; fetch 2 starts, and pays its latency to 7
7     layer 1 has 80 B left. Fetch 2 flows at 8 (flash), which leaves 16 of the memory to layer 1: both need 5 s more
12    fetch 2 and layer 1 end; layer 2 starts and flows at 20
14    layer 2 has 60 B left; the memory falls to 10 B/s, and so does layer 2
16    layer 2 has 40 B left; a checkpoint of 30 B comes: 5 each
22    the checkpoint ends after 6 s; layer 2 has 10 B left and flows at 10
23    layer 2 ends
====  ==========================================================================================================

**A priority inversion in a queue, and its end by force.**

Resource: link 6 B/s. One queue with two slots. All activities load the link. In the queue, in this order: a with
60 B, b with 6 B and after d, c with 6 B. Outside of it: d with 18 B.

====  ==========================================================================================================
at    what happens
====  ==========================================================================================================
0     a and d flow at 3 each; b waits for d at the head of the queue, and c, which waits for nothing, behind it
6     d has its 18 B and ends; b starts in the second slot; a has 42 B left; 3 each
8     b ends and c starts; a has 36 B left; 3 each
9     a is cancelled with 33 B left, c has 3 B left and flows at 6
9.5   c ends
====  ==========================================================================================================
"""

from __future__ import annotations

from math import inf

import numpy as np

from controller.engine import Activities, Engine


def activities(*rows: tuple[float, float, float, int, list[int], list[int]]) -> Activities:
    """From (work, latency_s, rate_limit, queue, resources, deps)."""
    work, latency_s, rate_limit, queue, resources, deps = zip(*rows, strict=True)
    return Activities(
        work=work,
        latency_s=latency_s,
        rate_limit=rate_limit,
        queue=queue,
        load_start=np.cumsum([0] + [len(row) for row in resources]),
        load_resource=[r for row in resources for r in row],
        load_weight=[1.0 for row in resources for _ in row],
        dep_start=np.cumsum([0] + [len(row) for row in deps]),
        dep=[d for row in deps for d in row],
    )


def test_layers_are_computed_while_they_are_fetched():
    engine = Engine()
    flash, memory = engine.add_resources([8.0, 24.0])
    copy, compute = engine.add_queues([1, 1])
    layers = engine.submit(
        activities(
            (40.0, 1.0, inf, copy, [flash, memory], []),
            (100.0, 0.0, 20.0, compute, [memory], [0]),
            (40.0, 1.0, inf, copy, [flash, memory], []),
            (100.0, 0.0, 20.0, compute, [memory], [2]),
        )
    )
    rates = {}
    for at in (0.5, 1.0, 6.5, 7.0, 12.0, 14.0):
        engine.run(until_s=at)
        rates[at] = engine.rates(layers).tolist()
    engine.set_capacity(memory, 10.0)
    engine.run(until_s=16.0)
    rates[16.0] = engine.rates(layers).tolist()
    checkpoint = engine.submit(activities((30.0, 0.0, inf, -1, [memory], [])))
    assert engine.run(tickets=(layers, checkpoint)) == (checkpoint,)
    rates[22.0] = engine.rates(layers).tolist()
    assert engine.run(tickets=(layers,)) == (layers,)

    assert engine.start_at(layers).tolist() == [0.0, 6.0, 6.0, 12.0]
    assert engine.end_at(layers).tolist() == [6.0, 12.0, 12.0, 23.0]
    assert engine.start_at(checkpoint).tolist() == [16.0]
    assert engine.end_at(checkpoint).tolist() == [22.0]
    assert engine.now == 23.0
    assert rates == {
        0.5: [0.0, 0.0, 0.0, 0.0],
        1.0: [8.0, 0.0, 0.0, 0.0],
        6.5: [0.0, 20.0, 0.0, 0.0],
        7.0: [0.0, 16.0, 8.0, 0.0],
        12.0: [0.0, 0.0, 0.0, 20.0],
        14.0: [0.0, 0.0, 0.0, 20.0],
        16.0: [0.0, 0.0, 0.0, 10.0],
        22.0: [0.0, 0.0, 0.0, 10.0],
    }


def test_the_head_of_a_queue_is_waited_for():
    engine = Engine()
    (link,) = engine.add_resources([6.0])
    (queue,) = engine.add_queues([2])
    ticket = engine.submit(
        activities(
            (60.0, 0.0, inf, queue, [link], []),
            (6.0, 0.0, inf, queue, [link], [3]),
            (6.0, 0.0, inf, queue, [link], []),
            (18.0, 0.0, inf, -1, [link], []),
        )
    )
    engine.run(until_s=9.0)
    assert engine.cancel(ticket, 0)
    engine.run()
    assert engine.start_at(ticket).tolist() == [0.0, 6.0, 8.0, 0.0]
    assert engine.end_at(ticket).tolist() == [9.0, 8.0, 9.5, 6.0]
    assert engine.cancelled(ticket).tolist() == [True, False, False, False]
