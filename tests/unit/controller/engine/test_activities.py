"""Batches that cannot be meant are refused with the array, the place and the value."""

from __future__ import annotations

import numpy as np
import pytest

from controller.engine import Activities, BadActivities, Engine

GOOD = {
    "work": [1.0, 2.0],
    "latency_s": [0.0, 0.0],
    "rate_limit": [1.0, np.inf],
    "queue": [-1, 0],
    "load_start": [0, 1, 2],
    "load_resource": [0, 0],
    "load_weight": [1.0, 1.0],
    "dep_start": [0, 0, 1],
    "dep": [0],
}


def test_arrays_take_the_dtypes_of_the_engine():
    batch = Activities(**GOOD)
    assert batch.count == 2
    assert batch.work.dtype == np.float64
    assert batch.queue.dtype == np.int32
    assert batch.load_start.dtype == np.int64


@pytest.mark.parametrize(
    ("name", "values", "text"),
    [
        ("queue", [-1], "queue has 1 values where 2 are needed"),
        ("load_start", [0, 2], "load_start has 2 values where 3"),
        ("load_start", [0, 2, 1], "load_start must ascend from 0 to 2"),
        ("load_start", [1, 1, 2], "load_start must ascend"),
        ("dep_start", [0, 0, 2], "dep_start must ascend from 0 to 1"),
        ("load_weight", [1.0], "load_weight has 1 values where 2"),
        ("work", [[1.0, 2.0]], "work has 2 dimensions"),
        ("work", ["a", "b"], "work holds <U1; give float64"),
        ("queue", [0.5, 1.0], "queue holds float64; give int32"),
        ("dep", [2**40], "dep holds numbers that int32 cannot hold"),
    ],
)
def test_shapes_are_checked_when_a_batch_is_made(name, values, text):
    with pytest.raises(BadActivities, match=text):
        Activities(**{**GOOD, name: values})


@pytest.mark.parametrize(
    ("name", "values", "text"),
    [
        ("work", [1.0, -2.0], "work of activity 1 is -2.0"),
        ("work", [np.nan, 2.0], "work of activity 0 is nan"),
        ("latency_s", [0.0, np.inf], "latency_s of activity 1 is inf s"),
        ("rate_limit", [0.0, 1.0], "rate_limit of activity 0 is 0.0"),
        ("queue", [-2, 0], "activity 0 is in queue -2; there are 1"),
        ("queue", [-1, 1], "activity 1 is in queue 1; there are 1"),
        ("load_resource", [0, 3], "activity 1 loads resource 3; there are 1"),
        ("load_weight", [-1.0, 1.0], "activity 0 has a load of weight -1.0"),
        ("load_weight", [1.0, 0.0], "activity 1 has work 2.0 and nothing limits its rate"),
        ("dep", [1], "activity 1 depends on 1; it must be another one of the 2"),
        ("dep", [7], "activity 1 depends on 7"),
    ],
)
def test_values_are_checked_when_a_batch_is_submitted(name, values, text):
    engine = Engine()
    engine.add_resources([1.0])
    engine.add_queues([1])
    with pytest.raises(BadActivities, match=text):
        engine.submit(Activities(**{**GOOD, name: values}))
    assert engine.unfinished == 0
    ticket = engine.submit(Activities(**GOOD))
    engine.run()
    assert engine.end_at(ticket).tolist() == [1.0, 3.0]


def test_rebound_values_are_checked_too():
    engine = Engine()
    engine.add_resources([1.0])
    engine.add_queues([1])
    template = Activities(**GOOD)
    with pytest.raises(BadActivities, match="work has 3 values; the batch has 2"):
        engine.submit(template, work=[1.0, 2.0, 3.0])
    with pytest.raises(BadActivities, match=r"latency_s of activity 0 is -1\.0 s"):
        engine.submit(template, latency_s=[-1.0, 0.0])
