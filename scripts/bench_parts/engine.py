"""How fast the engine is: the same work as published for other simulators, from seeds, in one table.

Run it as ``python scripts/bench_parts/engine.py [case ...]`` from the repository root, with the root on PYTHONPATH.
Every case runs in a process of its own, so that its peak of memory is its own. `submit` is part of the wall time.
`again` is the same work once more on the same engine: what is above it is the price of fresh memory pages, which
depends on the machine more than on the engine.
"""

from __future__ import annotations

import resource
import subprocess
import sys
import time
from collections.abc import Callable
from math import inf, isnan, nan

import numpy as np

from controller.engine import Activities, Engine

LINK = 50e9  # [bytes/s], each way


def batch(
    work: np.ndarray,
    resources: np.ndarray,
    *,
    start_s: np.ndarray | None = None,
    load_start: np.ndarray | None = None,
    dep_start: np.ndarray | None = None,
    dep: np.ndarray | None = None,
    queue: np.ndarray | None = None,
    rate_limit: np.ndarray | None = None,
) -> Activities:
    """Activities that load their resources with weight 1; two each, unless `load_start` says otherwise."""
    n = len(work)
    return Activities(
        work=work,
        latency_s=np.zeros(n) if start_s is None else start_s,
        rate_limit=np.full(n, inf) if rate_limit is None else rate_limit,
        queue=np.full(n, -1, np.int32) if queue is None else queue,
        load_start=np.arange(0, 2 * n + 1, 2) if load_start is None else load_start,
        load_resource=resources,
        load_weight=np.ones(len(resources)),
        dep_start=np.zeros(n + 1, np.int64) if dep_start is None else dep_start,
        dep=np.zeros(0, np.int32) if dep is None else dep,
    )


Result = tuple[int, float, float, float]
"""Flows, wall time [s], wall time of the same again on the same engine [s] (nan: not asked), simulated end [s]."""


def timed(engine: Engine, activities: Activities) -> Result:
    """The work once on a fresh engine, and once more in memory that the machine has handed out already."""
    before = time.perf_counter()
    ticket = engine.submit(activities)
    engine.run()
    wall_s, end_s = time.perf_counter() - before, engine.now
    engine.release(ticket)
    before = time.perf_counter()
    engine.submit(activities)
    engine.run()
    return activities.count, wall_s, time.perf_counter() - before, end_s


def ring(ranks: int, rounds: int | None = None) -> Result:
    """Ring all-reduce of 1 GiB on a star, with dependencies."""
    n = ranks * (rounds or 2 * (ranks - 1))
    engine = Engine()
    engine.add_resources(np.full(2 * ranks, LINK))
    i = np.arange(n, dtype=np.int32)
    rank = i % ranks
    resources = np.empty(2 * n, np.int32)
    resources[0::2] = rank
    resources[1::2] = ranks + (rank + 1) % ranks
    dep = i[ranks:] - rank[ranks:] - ranks + (rank[ranks:] - 1) % ranks
    dep_start = np.maximum(np.arange(n + 1, dtype=np.int64) - ranks, 0)
    return timed(engine, batch(np.full(n, 2**30 / ranks), resources, dep_start=dep_start, dep=dep))


def all_to_all(ranks: int) -> Result:
    """Equal sizes on a star."""
    source, target = (side.astype(np.int32) for side in np.nonzero(~np.eye(ranks, dtype=bool)))
    engine = Engine()
    engine.add_resources(np.full(2 * ranks, LINK))
    resources = np.stack([source, ranks + target], axis=1).ravel()
    return timed(engine, batch(np.full(len(source), 2.0**20), resources))


def leaf_spine(
    source: np.ndarray,
    target: np.ndarray,
    work: np.ndarray,
    start_s: np.ndarray,
    leaves: int,
    generator: np.random.Generator,
) -> Result:
    """Flows on leaves with 16 hosts and 8 spines each, 2:1, every flow over a random spine."""
    per_leaf, spines = 16, 8
    hosts = leaves * per_leaf
    engine = Engine()
    engine.add_resources(np.full(2 * hosts + 2 * leaves * spines, LINK))
    spine = generator.integers(0, spines, len(source))
    up = 2 * hosts + source // per_leaf * spines + spine
    down = 2 * hosts + leaves * spines + target // per_leaf * spines + spine
    count = np.where(source // per_leaf == target // per_leaf, 2, 4)
    loads = np.stack([source, hosts + target, up, down], axis=1)[np.arange(4) < count[:, None]]
    load_start = np.concatenate([[0], np.cumsum(count)])
    return timed(engine, batch(work, loads.astype(np.int32), start_s=start_s, load_start=load_start))


def uneven_all_to_all(ranks: int) -> Result:
    """Sizes uniform 8-24 MiB: every flow ends at its own time."""
    generator = np.random.default_rng(1)
    source, target = np.nonzero(~np.eye(ranks, dtype=bool))
    work = generator.uniform(8, 24, len(source)) * 2**20
    return leaf_spine(source, target, work, np.zeros(len(source)), ranks // 16, generator)


def random_flows(flows: int, within_s: float) -> Result:
    """1-64 MiB between random hosts of 16 leaves."""
    generator = np.random.default_rng(2)
    source = generator.integers(0, 256, flows)
    target = (source + generator.integers(1, 256, flows)) % 256
    start_s = np.sort(generator.uniform(0, within_s, flows))
    return leaf_spine(source, target, generator.uniform(1, 64, flows) * 2**20, start_s, 16, generator)


def closed_loop(ops: int) -> Result:
    """One small op after the other, with a decision after each."""
    engine = Engine()
    engine.add_resources([1e9])
    template = Activities([1.0], [1e-6], [inf], [-1], [0, 1], [0], [1.0], [0, 0], [])
    work = np.array([100.0])
    before = time.perf_counter()
    for _ in range(ops):
        ticket = engine.submit(template, work=work)
        engine.run(tickets=(ticket,))
        work[0] = 100.0 + engine.end_at(ticket)[0] % 7.0
        engine.release(ticket)
    return ops, time.perf_counter() - before, nan, engine.now


def step(activities: int) -> Result:
    """A plan with queues, latencies and limits, few flows at a time, submitted again and again; the best of 20."""
    generator = np.random.default_rng(0)
    engine = Engine()
    engine.add_resources(np.full(12, 1e9))
    engine.add_queues(np.ones(8, int))
    resources = np.concatenate([generator.choice(12, 2, replace=False) for _ in range(activities)])
    deps = [sorted({i - 1 - int(generator.integers(min(i, 4))), max(0, i - 9)}) if i else [] for i in range(activities)]
    template = batch(
        generator.uniform(1e3, 1e6, activities),
        resources,
        start_s=np.where(generator.random(activities) < 0.5, 1e-6, 0.0),
        rate_limit=np.where(generator.random(activities) < 0.6, generator.uniform(1e8, 2e9, activities), inf),
        queue=generator.integers(0, 8, activities),
        dep_start=np.cumsum([0] + [len(row) for row in deps]),
        dep=np.array([d for row in deps for d in row]),
    )
    best, last = inf, 0.0
    for _ in range(20):
        start = engine.now
        before = time.perf_counter()
        ticket = engine.submit(template)
        engine.run(tickets=(ticket,))
        best = min(best, time.perf_counter() - before)
        last = engine.now - start
        engine.release(ticket)
    return activities, best, nan, last


CASES: dict[str, tuple[str, Callable[[], Result]]] = {
    "ring": ("ring all-reduce, 1,024 ranks, star", lambda: ring(1024)),
    "all_to_all": ("all-to-all, equal, 512 ranks, star", lambda: all_to_all(512)),
    "uneven": ("all-to-all, uneven, 128 ranks, leaf-spine", lambda: uneven_all_to_all(128)),
    "overload": ("10,000 random flows within 10 ms", lambda: random_flows(10_000, 0.01)),
    "random": ("10,000 random flows within 100 ms", lambda: random_flows(10_000, 0.1)),
    "closed_loop": ("closed loop of 100,000 ops", lambda: closed_loop(100_000)),
    "step": ("plan of 2,600, submitted again", lambda: step(2600)),
    "scale_1e4": ("ring of 1,000 ranks, 10^4 flows", lambda: ring(1000, 10)),
    "scale_1e5": ("ring of 1,000 ranks, 10^5 flows", lambda: ring(1000, 100)),
    "scale_1e6": ("ring of 1,000 ranks, 10^6 flows", lambda: ring(1000, 1000)),
    "scale_1e7": ("ring of 1,000 ranks, 10^7 flows", lambda: ring(1000, 10_000)),
}


def one(name: str) -> None:
    """Run a case in this process and print its row."""
    ring(2)
    floor = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    flows, wall_s, again_s, end_s = CASES[name][1]()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - floor
    again = f"{'':>9}" if isnan(again_s) else f"{again_s:>9.4f}"
    print(
        f"{CASES[name][0]:42} {flows:>11,} {wall_s:>9.4f} {again} {wall_s / flows * 1e9:>9.0f} {flows / wall_s:>13,.0f}"
        f" {peak / 1024:>8.0f} {peak * 1024 / flows:>8.0f}   {end_s:.9f}",
        flush=True,
    )


def main(names: list[str] | None = None) -> int:
    """Print the table; exit code 1 if a case failed."""
    ring(2)
    titles = f"{'flows':>11} {'wall s':>9} {'again s':>9} {'ns/flow':>9} {'flows/s':>13} {'MiB':>8} {'B/flow':>8}"
    print(f"{'work':42} {titles}   simulated end s", flush=True)
    failed = False
    for name in names or list(CASES):
        failed |= subprocess.run([sys.executable, __file__, "--one", name], check=False).returncode != 0
    return int(failed)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--one"]:
        one(sys.argv[2])
    else:
        sys.exit(main(sys.argv[1:]))
