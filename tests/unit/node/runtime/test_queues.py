"""Commands start in the order of their queue, or when their events allow; a failure harms only what waits for it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from threading import Event as Gate

import pytest

from node.clock import wall_now
from node.errors import TierFull, WaitTimeout
from node.hardware.device import QueueSpec
from node.runtime.batch import BatchRun, Command
from node.runtime.events import Cause, DependencyFailed, Events
from node.runtime.queues import FreeRunner, InOrderQueue, Runner


class Act:
    """A call that takes `duration_s` of device time and does `act`."""

    queue, issued = "", False

    def __init__(self, duration_s: float = 0.0, act: Callable[[], object] = lambda: None) -> None:
        self._duration_s, self._act = duration_s, act

    def execute(self, start_at: float) -> tuple[float, bool]:
        self._act()
        return start_at + self._duration_s, False


class Bench:
    """A runner with one queue and a record of what peers were told."""

    def __init__(self, slots: int = 1) -> None:
        self.events = Events("dev")
        self.told: list[tuple[tuple[str, ...], int, float | Cause]] = []
        self.runner = Runner(
            self.events, lambda names, event, outcome: self.told.append((tuple(names), event, outcome))
        )
        self.queue = InOrderQueue("dev", QueueSpec("stream", "compute", slots=slots), self.runner)
        self.free = FreeRunner("dev", self.runner)

    def batch(
        self, calls: Sequence[tuple[int, Act, Sequence[int]]], *, ready_at: float = 0.0, timeout_s: float = 5.0
    ) -> tuple[Future[BatchRun], list[Command]]:
        done: Future[BatchRun] = Future()
        run = BatchRun(1, len(calls), ready_at, wall_now() + timeout_s, done.set_result)
        return done, [Command(event, call, wait, (), index, run) for index, (event, call, wait) in enumerate(calls)]


def test_one_slot_runs_one_after_the_other_in_device_time() -> None:
    bench = Bench()
    done, commands = bench.batch([(1, Act(2.0), ()), (2, Act(3.0), ()), (3, Act(1.0), ())], ready_at=1.0)
    bench.queue.add(commands)
    run = done.result(5)
    assert run.start_at == [1.0, 3.0, 6.0] and run.end_at == [3.0, 6.0, 7.0]
    later, commands = bench.batch([(4, Act(1.0), ())], ready_at=0.0)
    bench.queue.add(commands)
    assert later.result(5).start_at == [7.0]
    bench.queue.restart()
    again, commands = bench.batch([(5, Act(1.0), ())], ready_at=0.5)
    bench.queue.add(commands)
    assert again.result(5).start_at == [0.5]


def test_two_slots_overlap() -> None:
    bench = Bench(slots=2)
    both = threading.Barrier(2)
    done, commands = bench.batch([(1, Act(2.0, lambda: both.wait(5)), ()), (2, Act(3.0, lambda: both.wait(5)), ())])
    bench.queue.add(commands)
    assert done.result(5).start_at == [0.0, 0.0]
    done, commands = bench.batch([(3, Act(2.0), ()), (4, Act(2.0), ())])
    bench.queue.add(commands)
    assert sorted(done.result(5).start_at) == [2.0, 3.0]


def test_the_head_of_a_queue_waits_and_nobody_overtakes_it() -> None:
    bench, order = Bench(), list[int]()
    done, commands = bench.batch(
        [(1, Act(1.0, lambda: order.append(1)), (9,)), (2, Act(1.0, lambda: order.append(2)), ())]
    )
    bench.queue.add(commands)
    bench.events.end(9, 4.0)
    run = done.result(5)
    assert order == [1, 2]
    assert run.start_at == [4.0, 5.0]


def test_a_failure_is_told_with_its_first_cause() -> None:
    bench = Bench()

    def fail() -> None:
        raise TierFull("dev", "hbm", 10, 4, 100)

    done, commands = bench.batch([(1, Act(1.0, fail), ()), (2, Act(1.0), (1,)), (3, Act(1.0), (2,)), (4, Act(1.0), ())])
    commands[0].notify = ("peer",)
    bench.queue.add(commands)
    run = done.result(5)
    assert [index for index, _ in run.failures] == [0, 1, 2]
    assert isinstance(run.failures[0][1], TierFull)
    for _, error in run.failures[1:]:
        assert isinstance(error, DependencyFailed)
        assert (error.cause.id, error.cause.type) == (1, "TierFull")
    assert run.end_at[3] == 1.0  # a failure takes no device time
    ((names, event, outcome),) = bench.told
    assert (names, event) == (("peer",), 1) and isinstance(outcome, Cause)


def test_free_commands_start_when_their_last_event_has_ended() -> None:
    bench, began = Bench(), Gate()
    done, commands = bench.batch([(1, Act(1.0, began.set), (7, 8))])
    bench.free.add(commands[0])
    bench.events.end(7, 2.0)
    assert not began.wait(0.05)
    bench.events.end(8, 1.0)
    assert done.result(5).start_at == [2.0]


def test_waiting_ends_at_the_deadline() -> None:
    bench = Bench()
    queued, commands = bench.batch([(1, Act(), (7,))], timeout_s=0.1)
    bench.queue.add(commands)
    free, more = bench.batch([(2, Act(), (8,))], timeout_s=0.1)
    bench.free.add(more[0])
    for run in (queued.result(5), free.result(5)):
        assert isinstance(run.failures[0][1], WaitTimeout)
    bench.free.close()


def test_an_empty_batch_is_done_at_once() -> None:
    assert Bench().batch([])[0].result(0).failures == []


def test_events_that_end_while_somebody_registers_are_not_lost() -> None:
    events, rounds = Events("dev"), 3000
    ender = threading.Thread(target=lambda: [events.end(event, float(event)) for event in range(rounds)])
    ender.start()
    for event in range(rounds):
        assert events.wait((event,), 0.0, wall_now() + 5) == float(event)
    ender.join()


def test_old_events_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("node.runtime.events._KEPT", 10)
    events = Events("dev")
    for event in range(100):
        events.end(event, 0.0)
    assert events.outcome(0) is None
    assert events.outcome(99) == 0.0


def test_a_queue_outlives_whoever_is_told_and_fails() -> None:
    bench = Bench()

    def broken(run: BatchRun) -> None:
        raise RuntimeError("nobody listens")

    deaf = BatchRun(1, 1, 0.0, wall_now() + 5.0, broken)
    bench.queue.add([Command(1, Act(1.0), (), (), 0, deaf)])
    endless = BatchRun(2, 1, 0.0, float("inf"), lambda run: None)
    bench.queue.add([Command(2, Act(1.0), (99,), (), 0, endless)])  # no wait is that long: OverflowError
    done, commands = bench.batch([(3, Act(1.0), ())])
    bench.queue.add(commands)
    assert done.result(5).start_at == [1.0]
    assert [index for index, _ in endless.failures] == [0]
