"""Sharing in device time, on a clock that the test moves."""

from __future__ import annotations

import math
from dataclasses import dataclass

import pytest

from node.hardware.device import DeviceSpec, PortSpec, TierSpec
from node.memory.ledger import UseLedger
from node.memory.pacer import Pacer
from node.memory.resources import DeviceResources, SharedResource, Use, joined


@dataclass
class HandClock:
    """Device time that moves when somebody sleeps, or when the test says so."""

    at: float = 0.0
    late_s: float = 0.0
    dilation: float = 1.0

    def now(self) -> float:
        return self.at

    def sleep_until(self, device_at: float) -> None:
        self.at = max(self.at, device_at + self.late_s)


def pacer(late_s: float = 0.0) -> tuple[Pacer, HandClock]:
    clock = HandClock(late_s=late_s)
    return Pacer(clock), clock  # type: ignore[arg-type]


def bus(capacity: float = 100.0) -> SharedResource:
    return SharedResource("bus", capacity)


def test_alone_a_flow_takes_work_over_rate() -> None:
    made, clock = pacer()
    flow = made.open(50.0, math.inf, ((bus(), 1.0),), active_at=1.0)
    assert made.wait(flow, 50.0) == pytest.approx(1.5)
    assert clock.at >= 1.5


def test_an_end_is_exact_however_late_the_waiter_wakes() -> None:
    made, _ = pacer(late_s=0.037)
    flow = made.open(50.0, math.inf, ((bus(), 1.0),), active_at=0.0)
    assert made.wait(flow, 50.0) == pytest.approx(0.5, abs=1e-12)


def test_two_flows_share_and_the_second_speeds_up_when_the_first_has_gone() -> None:
    made, _ = pacer()
    shared = bus()
    first = made.open(50.0, math.inf, ((shared, 1.0),), 0.0)
    second = made.open(100.0, math.inf, ((shared, 1.0),), 0.0)
    assert made.wait(first, 50.0) == pytest.approx(1.0)  # at 50 each
    made.close(first)
    assert made.wait(second, 100.0) == pytest.approx(1.5)  # 50 by 1.0, then 100 a second


def test_a_flow_that_comes_later_slows_the_first() -> None:
    made, clock = pacer()
    shared = bus()
    first = made.open(100.0, math.inf, ((shared, 1.0),), 0.0)
    clock.at = 0.5
    second = made.open(100.0, math.inf, ((shared, 1.0),), 0.5)
    assert made.wait(first, 100.0) == pytest.approx(1.5)
    made.close(first)
    assert made.wait(second, 100.0) == pytest.approx(2.0)


def test_a_flow_with_a_limit_leaves_the_rest() -> None:
    made, _ = pacer()
    shared = bus()
    slow = made.open(20.0, 20.0, ((shared, 1.0),), 0.0)
    fast = made.open(80.0, math.inf, ((shared, 1.0),), 0.0)
    assert made.wait(fast, 80.0) == pytest.approx(1.0)
    assert made.wait(slow, 20.0) == pytest.approx(1.0)


def test_what_starts_in_the_past_has_moved_since() -> None:
    made, clock = pacer()
    clock.at = 2.3
    flow = made.open(50.0, math.inf, ((bus(), 1.0),), active_at=2.0)
    assert made.wait(flow, 50.0) == pytest.approx(2.5)
    past = made.open(10.0, 100.0, (), active_at=1.0)
    assert made.wait(past, 10.0) == pytest.approx(1.1)


def test_what_starts_late_takes_its_share_back() -> None:
    made, clock = pacer()
    shared = bus()
    first = made.open(100.0, math.inf, ((shared, 1.0),), 0.0)
    clock.at = 0.5
    second = made.open(100.0, math.inf, ((shared, 1.0),), 0.0)
    assert made.wait(first, 100.0) == pytest.approx(2.0)
    assert made.wait(second, 100.0) == pytest.approx(2.0)


def test_no_work_ends_when_its_latency_is_paid() -> None:
    made, clock = pacer()
    flow = made.open(0.0, 1.0, (), active_at=0.25)
    assert made.wait(flow, 0.0) == 0.25
    assert clock.at >= 0.25


def test_a_flow_that_goes_on_in_pieces_loses_nothing_while_it_is_ahead() -> None:
    made, _ = pacer()
    flow = made.open(20.0, math.inf, ((bus(), 1.0),), 0.0)
    for mark in range(10, 100, 10):
        made.wait(flow, mark)
        made.extend(flow, min(100.0, mark + 20.0))
    assert made.wait(flow, 100.0) == pytest.approx(1.0)


def test_a_simplex_tier_adds_reads_and_writes() -> None:
    spec = TierSpec("dram", "dram", 1, 100.0, 50.0, simplex=True)
    device = DeviceResources("cpu", DeviceSpec("p", "cpu", "", {"dram": spec}, {}, {}, {}))
    copy = joined(((device.tier("dram", writes=False), 1.0), (device.tier("dram", writes=True), 1.0)))
    assert Use(100.0, math.inf, 0.0, copy).alone_s == pytest.approx(100 / 100 + 100 / 50)


def test_a_total_bounds_both_sides() -> None:
    port = PortSpec("cxl", 80.0, 80.0, total_bytes_per_s=100.0)
    device = DeviceResources("m", DeviceSpec("p", "cxl", "", {}, {}, {"cxl": port}, {}))
    made, _ = pacer()
    out = made.open(50.0, math.inf, device.port("cxl", enters=False), 0.0)
    into = made.open(50.0, math.inf, device.port("cxl", enters=True), 0.0)
    assert made.wait(out, 50.0) == pytest.approx(1.0)
    assert made.wait(into, 50.0) == pytest.approx(1.0)


def test_a_kernel_is_a_flow_of_its_bytes() -> None:
    tier = TierSpec("hbm", "dram", 1, 100.0, 100.0)
    device = DeviceResources("gpu", DeviceSpec("p", "gpu", "", {"hbm": tier}, {}, {}, {}))
    use = device.kernel_use(2.0, 0.5, {"hbm": 60}, {"hbm": 30})
    assert (use.work, use.rate_limit, use.alone_s) == (90.0, 45.0, 2.5)
    assert {resource.name: weight for resource, weight in use.loads} == {
        "gpu.hbm.read": pytest.approx(2 / 3),
        "gpu.hbm.write": pytest.approx(1 / 3),
    }
    idle = device.kernel_use(2.0, 0.0, {}, {})
    assert (idle.work, idle.rate_limit, idle.alone_s) == (2.0, 1.0, 2.0)


def test_the_ledger_is_exact_for_what_does_not_overlap() -> None:
    ledger, shared = UseLedger(), bus()
    use = Use(50.0, math.inf, 0.25, ((shared, 1.0),))
    at = 0.0
    for _ in range(500):
        ended = ledger.charge(use, at)
        assert ended == pytest.approx(at + 0.75)
        at = ended


def test_the_ledger_gives_a_late_comer_what_is_left_but_no_less_than_its_share() -> None:
    ledger, shared = UseLedger(), bus()
    assert ledger.charge(Use(80.0, 80.0, 0.0, ((shared, 1.0),)), 0.0) == pytest.approx(1.0)
    # Half of the bus, 50, for a second, then all of it.
    assert ledger.charge(Use(100.0, math.inf, 0.0, ((shared, 1.0),)), 0.0) == pytest.approx(1.5)
    shared.forget()
    assert ledger.charge(Use(100.0, math.inf, 0.0, ((shared, 1.0),)), 0.0) == pytest.approx(1.0)
