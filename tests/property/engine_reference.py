"""The engine's twin: the same fluid model, slow and obvious, in plain Python.

Every step looks at every activity, every change of anything fills all rates up again from zero, and there is no heap,
no index and no memory of earlier rates. It shares no code with the engine.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import inf, isclose, nan

import numpy as np

from controller.engine import Activities, Engine, EngineDeadlock


@dataclass
class Task:
    work: float
    latency_s: float = 0.0
    rate_limit: float = inf
    queue: int = -1
    loads: list[tuple[int, float]] = field(default_factory=list)
    deps: list[int] = field(default_factory=list)


@dataclass
class Scenario:
    """What happens from outside: batches and changes, each at an instant, in the order in which they are listed."""

    capacities: list[float]
    slots: list[int]
    steps: list[tuple[float, tuple]]  # (at, ("submit", tasks) | ("capacity", r, c) | ("cancel", batch, i))
    pipelined: list[bool] = field(default_factory=list)  # of the queues; none when empty


class Stuck(Exception):
    pass


@dataclass
class _Life:
    task: Task
    name: tuple[int, int]
    left: float
    ready: float = nan
    latency_end: float = nan
    start: float = nan
    end: float = nan
    rate: float = 0.0

    @property
    def running(self) -> bool:
        return self.start == self.start and self.end != self.end

    def flows(self, now: float) -> bool:
        return self.running and now >= self.latency_end


def fill(capacities: list[float], flows: list[tuple[float, list[tuple[int, float]]]]) -> list[float]:
    """Max-min fair rates of flows (limit, loads): raise all together until something stops some, and so on."""
    rates = [0.0] * len(flows)
    left = list(capacities)
    open_flows = list(range(len(flows)))
    level = 0.0
    while open_flows:
        weight = [0.0] * len(capacities)
        for f in open_flows:
            for r, w in flows[f][1]:
                weight[r] += w
        rise = min(flows[f][0] for f in open_flows) - level
        for r, w in enumerate(weight):
            if w > 0.0:
                rise = min(rise, left[r] / w)
        rise = max(rise, 0.0)
        level += rise
        for r, w in enumerate(weight):
            left[r] -= rise * w
        full = {r for r, w in enumerate(weight) if w > 0.0 and left[r] <= 1e-12 * capacities[r]}
        still = []
        for f in open_flows:
            rates[f] = level
            limit, loads = flows[f]
            if limit > level * (1 + 1e-12) and not any(r in full and w > 0.0 for r, w in loads):
                still.append(f)
        assert len(still) < len(open_flows)
        open_flows = still
    return rates


def simulate(scenario: Scenario) -> dict[tuple[int, int], tuple[float, float]]:
    """(start, end) of every activity by (batch, index); raises Stuck when some can never end."""
    capacities = list(scenario.capacities)
    lives: list[_Life] = []
    by_name: dict[tuple[int, int], _Life] = {}
    steps = list(scenario.steps)
    batches = 0
    now = 0.0

    def ended(batch: int, i: int) -> bool:
        end = by_name[batch, i].end
        return end == end

    def start_what_can() -> bool:
        """One pass over the activities in submission order; True if anything happened."""
        happened = False
        blocked = set()
        for life in lives:
            if life.start == life.start or life.end == life.end:
                continue
            queue = life.task.queue
            held = sum(other.running for other in lives if other.task.queue == queue)
            ready = all(ended(life.name[0], d) for d in life.task.deps)
            if ready and life.ready != life.ready:
                life.ready = now
            if (queue >= 0 and (queue in blocked or held >= scenario.slots[queue])) or not ready:
                blocked.add(queue)
                continue
            life.start = now
            hidden = queue >= 0 and scenario.pipelined and scenario.pipelined[queue]
            life.latency_end = max((life.ready if hidden else now) + life.task.latency_s, now)
            happened = True
        for life in lives:
            if life.flows(now) and life.left == 0.0:
                life.end = now
                happened = True
        return happened

    while True:
        while start_what_can():
            pass
        flowing = [life for life in lives if life.flows(now)]
        for life, rate in zip(
            flowing,
            fill(capacities, [(life.task.rate_limit, life.task.loads) for life in flowing]),
            strict=True,
        ):
            life.rate = rate
        due = [(life.latency_end, life) for life in lives if life.running and not life.flows(now)]
        due += [(now + life.left / life.rate, life) for life in flowing if life.rate > 0.0]
        then = min((at for at, _ in due), default=inf)
        if steps and steps[0][0] < then:
            then = steps[0][0]
        if then == inf:
            break
        for life in flowing:
            life.left = max(life.left - life.rate * (then - now), 0.0)
        for at, life in due:
            if at == then and life.flows(now):
                life.left = 0.0
        now = then
        while start_what_can():
            pass
        while steps and steps[0][0] == now and not any(at == now for at, _ in due):
            what = steps.pop(0)[1]
            if what[0] == "submit":
                for i, task in enumerate(what[1]):
                    life = _Life(task, (batches, i), task.work)
                    lives.append(life)
                    by_name[life.name] = life
                batches += 1
            elif what[0] == "capacity":
                capacities[what[1]] = what[2]
            elif not ended(what[1], what[2]):
                by_name[what[1], what[2]].end = now
            while start_what_can():
                pass
    if any(life.end != life.end for life in lives):
        raise Stuck
    return {life.name: (life.start, life.end) for life in lives}


def activities(tasks: list[Task]) -> Activities:
    """The same batch as arrays."""
    return Activities(
        work=np.array([t.work for t in tasks], float),
        latency_s=np.array([t.latency_s for t in tasks], float),
        rate_limit=np.array([t.rate_limit for t in tasks], float),
        queue=np.array([t.queue for t in tasks], np.int32),
        load_start=np.cumsum([0] + [len(t.loads) for t in tasks]),
        load_resource=np.array([r for t in tasks for r, _ in t.loads], np.int32),
        load_weight=np.array([w for t in tasks for _, w in t.loads], float),
        dep_start=np.cumsum([0] + [len(t.deps) for t in tasks]),
        dep=np.array([d for t in tasks for d in t.deps], np.int32),
    )


def run_engine(scenario: Scenario, engine: Engine | None = None) -> dict[tuple[int, int], tuple[float, float]]:
    """The same scenario on the engine; raises Stuck where that reports a deadlock."""
    engine = engine or Engine()
    resources = engine.add_resources(scenario.capacities)
    pipelined = scenario.pipelined or [False] * len(scenario.slots)
    for number, (slots, hides) in enumerate(zip(scenario.slots, pipelined, strict=True)):
        assert engine.add_queues(slots, pipelined=hides).tolist() == [number]
    assert resources.tolist() == list(range(len(scenario.capacities)))
    tickets: list[int] = []
    for at, what in scenario.steps:
        engine.run(until_s=at)
        if what[0] == "submit":
            tickets.append(engine.submit(activities(what[1])))
        elif what[0] == "capacity":
            engine.set_capacity(what[1], what[2])
        else:
            engine.cancel(tickets[what[1]], what[2])
    try:
        engine.run()
    except EngineDeadlock:
        raise Stuck from None
    return {
        (b, i): (start, end)
        for b, ticket in enumerate(tickets)
        for i, (start, end) in enumerate(zip(engine.start_at(ticket), engine.end_at(ticket), strict=True))
    }


def same(a: float, b: float) -> bool:
    """Equal to 1e-9 relative; nan equals nan."""
    return (a != a and b != b) or isclose(a, b, rel_tol=1e-9, abs_tol=1e-12)


def agree(scenario: Scenario) -> bool:
    """Whether engine and twin say the same."""
    try:
        expected = simulate(scenario)
    except Stuck:
        expected = None
    try:
        got = run_engine(scenario)
    except Stuck:
        got = None
    if expected is None or got is None:
        return expected is got
    return all(same(expected[k][0], got[k][0]) and same(expected[k][1], got[k][1]) for k in expected)


def drawn(generator: np.random.Generator, largest: int = 30) -> Scenario:
    """A scenario with a bit of everything; round numbers in half of them, for the sake of ties."""
    round_numbers = generator.random() < 0.5

    def number(choices: list[float], low: float, high: float) -> float:
        return float(generator.choice(choices)) if round_numbers else float(generator.uniform(low, high))

    def chance(probability: float) -> bool:
        return bool(generator.random() < probability)

    resources, queues = int(generator.integers(1, 8)), int(generator.integers(0, 4))
    steps: list[tuple[float, tuple]] = []
    counts: list[int] = []
    at = 0.0
    for _ in range(int(generator.integers(1, 7))):
        what = generator.random()
        if what < 0.6 or not counts:
            tasks = []
            for i in range(int(generator.integers(1, largest))):
                loads = [
                    (int(generator.integers(resources)), number([1, 1, 1, 2, 0.5, 3, 0], 0.1, 3))
                    for _ in range(int(generator.integers(0, 5)))
                ]
                unlimited = chance(0.6) and any(w > 0 for _, w in loads)
                tasks.append(
                    Task(
                        work=0.0 if chance(0.1) else number([1, 2, 3, 7, 10], 0.01, 20),
                        latency_s=0.0 if chance(0.6) else number([0.5, 1, 0.25], 0, 2),
                        rate_limit=inf if unlimited else number([1, 2, 0.3, 5], 0.1, 5),
                        queue=int(generator.integers(queues)) if queues and chance(0.4) else -1,
                        loads=loads,
                        deps=sorted({int(generator.integers(i)) for _ in range(int(generator.integers(3)))})
                        if i
                        else [],
                    )
                )
            steps.append((at, ("submit", tasks)))
            counts.append(len(tasks))
        elif what < 0.8:
            capacity = 0.0 if chance(0.4) else number([1, 2, 4], 0.1, 10)
            steps.append((at, ("capacity", int(generator.integers(resources)), capacity)))
        else:
            batch = int(generator.integers(len(counts)))
            steps.append((at, ("cancel", batch, int(generator.integers(counts[batch])))))
        at += number([0, 0.5, 1, 3], 0, 4)
    if chance(0.8):
        steps += [(at, ("capacity", r, 1.0)) for r in range(resources)]
    return Scenario(
        capacities=[number([1, 2, 3, 5, 10, 0.5], 0.1, 20) for _ in range(resources)],
        slots=[int(generator.integers(1, 4)) for _ in range(queues)],
        steps=steps,
        pipelined=[chance(0.5) for _ in range(queues)],
    )
