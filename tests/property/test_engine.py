"""The engine against its twin, and what must hold whatever it is given."""

from __future__ import annotations

import importlib.util
import sys
from math import inf
from pathlib import Path

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from controller.engine import Activities, Engine

_spec = importlib.util.spec_from_file_location("engine_reference", Path(__file__).with_name("engine_reference.py"))
reference = importlib.util.module_from_spec(_spec)
sys.modules["engine_reference"] = reference
_spec.loader.exec_module(reference)
Task, Scenario = reference.Task, reference.Scenario

FEW = settings(max_examples=60, deadline=None, derandomize=True)

ROUND = st.sampled_from([0.25, 0.5, 1.0, 1.0, 2.0, 3.0])
ANY = st.floats(0.05, 20.0, allow_nan=False)
NUMBER = st.one_of(ROUND, ANY)


@st.composite
def task(draw, resources: int, queues: int, earlier: int):
    loads = draw(st.lists(st.tuples(st.integers(0, resources - 1), st.one_of(st.just(0.0), NUMBER)), max_size=4))
    limit = draw(st.one_of(st.just(inf), NUMBER))
    if not any(w > 0 for _, w in loads) and limit == inf:
        limit = draw(NUMBER)
    return Task(
        work=draw(st.one_of(st.just(0.0), NUMBER, NUMBER)),
        latency_s=draw(st.one_of(st.just(0.0), st.just(0.0), NUMBER)),
        rate_limit=limit,
        queue=draw(st.integers(-1, queues - 1)),
        loads=loads,
        deps=draw(st.lists(st.integers(0, earlier - 1), max_size=3, unique=True)) if earlier else [],
    )


@st.composite
def scenarios(draw):
    resources, queues = draw(st.integers(1, 5)), draw(st.integers(0, 2))
    steps, counts, at = [], [], 0.0
    for _ in range(draw(st.integers(1, 4))):
        kind = draw(st.sampled_from(["submit", "submit", "capacity", "cancel"])) if counts else "submit"
        if kind == "submit":
            tasks = [draw(task(resources, queues, i)) for i in range(draw(st.integers(1, 10)))]
            steps.append((at, ("submit", tasks)))
            counts.append(len(tasks))
        elif kind == "capacity":
            capacity = draw(st.one_of(st.just(0.0), NUMBER))
            steps.append((at, ("capacity", draw(st.integers(0, resources - 1)), capacity)))
        else:
            batch = draw(st.integers(0, len(counts) - 1))
            steps.append((at, ("cancel", batch, draw(st.integers(0, counts[batch] - 1)))))
        at += draw(st.one_of(st.just(0.0), NUMBER))
    if draw(st.booleans()):
        steps += [(at, ("capacity", r, 1.0)) for r in range(resources)]
    return Scenario(
        capacities=draw(st.lists(NUMBER, min_size=resources, max_size=resources)),
        slots=draw(st.lists(st.integers(1, 3), min_size=queues, max_size=queues)),
        steps=steps,
        pipelined=draw(st.lists(st.booleans(), min_size=queues, max_size=queues)),
    )


@FEW
@given(scenarios())
def test_the_engine_equals_its_twin(scenario):
    assert reference.agree(scenario)


def test_the_engine_equals_its_twin_on_larger_scenarios():
    for seed in range(150):
        assert reference.agree(reference.drawn(np.random.default_rng(seed))), f"drawn(default_rng({seed}))"


def leaf_spine(generator: np.random.Generator, flows: int) -> tuple[np.ndarray, Activities]:
    """Random flows that start within 10 s on 4 leaves x 4 hosts x 2 spines, 2:1: the components grow together."""
    hosts, leaves, spines, per_leaf = 16, 4, 2, 4
    source = generator.integers(0, hosts, flows)
    target = (source + generator.integers(1, hosts, flows)) % hosts
    spine = generator.integers(0, spines, flows)
    up = 2 * hosts + source // per_leaf * spines + spine
    down = 2 * hosts + leaves * spines + target // per_leaf * spines + spine
    loads = np.stack([source, hosts + target, up, down], axis=1)
    count = np.where(source // per_leaf == target // per_leaf, 2, 4)
    start = np.concatenate([[0], np.cumsum(count)])
    return np.ones(2 * hosts + 2 * leaves * spines), Activities(
        work=generator.uniform(1, 64, flows),
        latency_s=generator.uniform(0, 10, flows),
        rate_limit=np.full(flows, inf),
        queue=np.full(flows, -1),
        load_start=start,
        load_resource=loads[np.arange(4) < count[:, None]],
        load_weight=np.ones(start[-1]),
        dep_start=np.zeros(flows + 1, int),
        dep=np.zeros(0, int),
    )


def tasks_of(batch: Activities) -> list:
    return [
        Task(
            work=float(batch.work[i]),
            latency_s=float(batch.latency_s[i]),
            loads=[(int(r), 1.0) for r in batch.load_resource[batch.load_start[i] : batch.load_start[i + 1]]],
        )
        for i in range(batch.count)
    ]


def test_a_crowded_network_equals_the_twin():
    capacities, batch = leaf_spine(np.random.default_rng(5), 90)
    engine = Engine()
    engine.add_resources(capacities)
    ticket = engine.submit(batch)
    engine.run()
    expected = reference.simulate(Scenario(capacities.tolist(), [], [(0.0, ("submit", tasks_of(batch)))]))
    np.testing.assert_allclose(engine.end_at(ticket), [expected[0, i][1] for i in range(90)], rtol=1e-9)


def assert_certificate(capacities: np.ndarray, batch: Activities, rates: np.ndarray) -> None:
    """Nothing is overdrawn, and every flow meets a full resource on which nobody is faster, or its own limit."""
    used, fastest = np.zeros(len(capacities)), np.zeros(len(capacities))
    loads = [
        [
            (r, w)
            for r, w in zip(
                batch.load_resource[batch.load_start[i] : batch.load_start[i + 1]],
                batch.load_weight[batch.load_start[i] : batch.load_start[i + 1]],
                strict=True,
            )
        ]
        for i in range(batch.count)
    ]
    for i, row in enumerate(loads):
        for r, w in row:
            used[r] += w * rates[i]
            fastest[r] = max(fastest[r], rates[i])
    assert (used <= capacities * (1 + 1e-9)).all()
    for i, row in enumerate(loads):
        if rates[i] > 0.0:
            stopped = [r for r, _ in row if used[r] >= capacities[r] * (1 - 1e-9)]
            assert rates[i] == batch.rate_limit[i] or any(rates[i] >= fastest[r] * (1 - 1e-9) for r in stopped)


def test_rates_carry_their_certificate_at_every_instant():
    capacities, batch = leaf_spine(np.random.default_rng(7), 400)
    generator = np.random.default_rng(8)
    limit = np.where(generator.random(400) < 0.3, generator.uniform(0.01, 0.5, 400), inf)
    weight = generator.uniform(0.5, 2.0, len(batch.load_weight))
    engine = Engine()
    engine.add_resources(capacities)
    ticket = engine.submit(batch, rate_limit=limit, load_weight=weight)
    given = Activities(**{**batch.__dict__, "rate_limit": limit, "load_weight": weight})
    for at in np.linspace(0.1, 40, 60):
        engine.run(until_s=at)
        if at > 20:
            changed = int(generator.integers(len(capacities)))
            capacities[changed] = generator.uniform(0.2, 2.0)
            engine.set_capacity(changed, capacities[changed])
        rates = engine.rates(ticket)
        running = ~np.isnan(engine.start_at(ticket)) & np.isnan(engine.end_at(ticket))
        assert (rates[~running] == 0.0).all()
        assert_certificate(capacities, given, rates)
    assert engine.counts["repeats"] > 0


@FEW
@given(st.integers(0, 2**32 - 1))
def test_the_order_of_declaration_does_not_matter(seed):
    generator = np.random.default_rng(seed)
    capacities, batch = leaf_spine(generator, 40)
    order = generator.permutation(40)
    names = generator.permutation(len(capacities))
    rows = [batch.load_resource[batch.load_start[i] : batch.load_start[i + 1]] for i in order]
    shuffled = Activities(
        work=batch.work[order],
        latency_s=batch.latency_s[order],
        rate_limit=batch.rate_limit,
        queue=batch.queue,
        load_start=np.cumsum([0] + [len(row) for row in rows]),
        load_resource=names[np.concatenate([generator.permutation(row) for row in rows])],
        load_weight=batch.load_weight,
        dep_start=batch.dep_start,
        dep=batch.dep,
    )
    ended = []
    for given_batch in (batch, shuffled):
        engine = Engine()
        engine.add_resources(capacities)
        ticket = engine.submit(given_batch)
        engine.run()
        ended.append(engine.end_at(ticket))
    np.testing.assert_allclose(ended[1], ended[0][order], rtol=1e-9)


@FEW
@given(st.lists(st.tuples(NUMBER, NUMBER, NUMBER), min_size=1, max_size=12), st.floats(1.0, 4.0))
def test_on_one_link_bytes_add_up_and_more_bandwidth_is_never_slower(flows, factor):
    work, start, limit = (np.array(column) for column in zip(*flows, strict=True))
    n = len(flows)
    batch = Activities(
        work=work,
        latency_s=start,
        rate_limit=limit,
        queue=np.full(n, -1),
        load_start=np.arange(n + 1),
        load_resource=np.zeros(n, int),
        load_weight=np.ones(n),
        dep_start=np.zeros(n + 1, int),
        dep=np.zeros(0, int),
    )

    def run(capacity: float) -> np.ndarray:
        engine = Engine()
        engine.add_resources([capacity])
        ticket = engine.submit(batch)
        engine.run()
        return engine.end_at(ticket)

    slow, fast = run(1.0), run(factor)
    assert (fast <= slow * (1 + 1e-9)).all()
    # Whoever has ended by an instant has moved no more than the link can have carried by then.
    for end in slow:
        assert work[slow <= end].sum() <= (end - start.min()) * (1 + 1e-9)
    # A link that was busy all the time since the last start has carried everything.
    if (limit >= 1.0).all() and (start == start[0]).all():
        np.testing.assert_allclose(slow.max(), start[0] + work.sum(), rtol=1e-9)
