"""Pacing: never early, shared fairly, and equal to what the hardware models say."""

from __future__ import annotations

import time
from collections.abc import Iterator
from types import SimpleNamespace

import numpy as np
import pytest

from controller.launch import Cluster, launch
from node.client import CommandCompletion, LaunchKernel, Operand, Push
from node.errors import BadAttribute

pytestmark = pytest.mark.live
DILATION = 2.0
"""How late this machine may be in a test; the benchmark reports the real figure."""


@pytest.fixture(scope="module")
def paced(twins: SimpleNamespace) -> Iterator[Cluster]:
    declared = twins.topology(
        ("a", "h", twins.device_spec()),
        ("b", "h", twins.device_spec()),
        ("c", "h2", twins.device_spec("csd", flash=True)),
    )
    with launch(declared, pace=DILATION) as cluster:
        for client in cluster.clients.values():
            client.allocate("x", "hbm", "uint8", (20_000_000,))
            client.allocate("y", "hbm", "uint8", (20_000_000,))
        yield cluster


def push(event: int, target: str, size: int, **options: object) -> Push:
    return Push(
        event,
        Operand("x", 0, (size,)),
        ((target, Operand("y", 0, (size,))),),
        out_port="pcie",
        in_port="pcie",
        links=(f"{options.pop('source')}-root>", f"{target}-root<"),
        **options,
    )


def delay(event: int, seconds: float, **options: object) -> LaunchKernel:
    return LaunchKernel(event, "delay", (), (), {"seconds": seconds}, **options)


def timed(
    cluster: Cluster, *batches: tuple[str, list[LaunchKernel | Push]]
) -> tuple[dict[int, CommandCompletion], float, float]:
    """Runs batches from device time `begin`; returns completions, `begin` and the wall time that it took."""
    begin = cluster.device_now() + 0.02
    began = time.monotonic()
    futures = [cluster.clients[device].submit(commands, ready_at=begin) for device, commands in batches]
    done = {entry.id: entry for future in futures for entry in future.result(30)}
    assert not [entry.error for entry in done.values() if entry.error]
    return done, begin, time.monotonic() - began


def test_a_delay_takes_its_time_and_not_less(paced: Cluster) -> None:
    done, begin, wall_s = timed(paced, ("a", [delay(1, 0.1), delay(2, 0.05)]))
    assert done[1].start_at == pytest.approx(begin)
    # A busy machine may be late, which it then says; it is never early.
    assert done[2].end_at - begin == pytest.approx(0.15) or done[1].overrun or done[2].overrun
    assert done[2].end_at - begin >= 0.15 * (1 - 1e-9)
    assert wall_s >= 0.15 * DILATION


def test_a_push_runs_at_the_speed_of_the_slowest_part(paced: Cluster) -> None:
    done, begin, wall_s = timed(paced, ("a", [push(11, "b", 10_000_000, source="a", latency_s=0.01)]))
    took = done[11].end_at - begin  # 10 ms of latency, then 10 MB at 100 MB/s
    assert took >= 0.11 * (1 - 1e-9)
    assert wall_s >= took * DILATION


def test_two_pushes_share_the_port_that_both_leave_by(paced: Cluster) -> None:
    done, begin, _ = timed(paced, ("a", [push(21, "b", 5_000_000, source="a"), push(22, "c", 5_000_000, source="a")]))
    # 10 MB at 100 MB/s, whether they overlap or a busy machine starts one of them late.
    assert max(done[event].end_at for event in (21, 22)) - begin >= 0.1 * (1 - 0.02)


def test_two_nodes_share_the_port_that_both_enter_by(paced: Cluster) -> None:
    done, begin, _ = timed(
        paced,
        ("a", [push(31, "b", 5_000_000, source="a")]),
        ("c", [push(32, "b", 5_000_000, source="c")]),
    )
    assert max(done[event].end_at for event in (31, 32)) - begin >= 0.1 * (1 - 0.1)


def test_a_kernel_and_a_push_share_the_tier(paced: Cluster) -> None:
    """The kernel reads 40 MB and writes 20 MB of a tier of 1 GB/s a side, alone in at least 40 ms."""
    size = 20_000_000
    x, y = Operand("x", 0, (size,)), Operand("y", 0, (size,))
    alone, begin, _ = timed(paced, ("a", [LaunchKernel(41, "copy", (x,), (y,))]))
    assert alone[41].end_at - begin >= 0.02
    both, begin, _ = timed(
        paced, ("a", [LaunchKernel(42, "copy", (x,), (y,)), push(43, "b", 5_000_000, source="a", queue="copy")])
    )
    # Neither is faster than alone; how fairly they share is a question for the benchmark, on a quiet machine.
    assert both[42].end_at - begin >= 0.02 * (1 - 1e-6)
    assert both[43].end_at - begin >= 0.05 * (1 - 1e-6)


def test_a_push_into_flash_is_as_slow_as_the_flash(paced: Cluster) -> None:
    paced.clients["c"].allocate("f", "flash", "uint8", (4_000_000,))
    move = Push(
        51,
        Operand("x", 0, (4_000_000,)),
        (("c", Operand("f", 0, (4_000_000,))),),
        out_port="pcie",
        in_port="pcie",
        links=("a-root>", "c-root<"),
    )
    done, begin, _ = timed(paced, ("a", [move]))
    assert done[51].end_at - begin >= 0.08 * (1 - 1e-9)  # 4 MB at 50 MB/s


def test_work_that_this_machine_cannot_do_in_time_is_an_overrun(twins: SimpleNamespace) -> None:
    with launch(twins.topology(("a", "h", twins.device_spec())), pace=1e-4) as cluster:
        client = cluster.clients["a"]
        client.allocate("x", "hbm", "fp32", (1000,))
        x = Operand("x", 0, (1000,))
        begin = cluster.device_now()
        (done,) = client.submit([LaunchKernel(1, "add", (x, x), (x,))], ready_at=begin).result(20)
        assert done.overrun
        assert done.end_at - begin >= done.wall_s / 1e-4 * 0.5  # the real end, not the declared one
        assert client.counters().overruns == 1


def test_clocks_start_again_together(paced: Cluster) -> None:
    paced.start_clocks()
    done, begin, _ = timed(paced, ("a", [delay(61, 0.01)]), ("b", [delay(62, 0.01)]))
    assert begin < 1.0
    assert done[61].start_at == done[62].start_at == begin
    assert np.isclose(paced.device_now(), done[61].end_at, atol=1.0)


def test_nobody_waits_for_a_ready_at_years_ahead(paced: Cluster) -> None:
    with pytest.raises(BadAttribute, match="ready_at"):
        paced.clients["a"].submit([delay(990_001, 0.0)], ready_at=1e8).result(5)
    timed(paced, ("a", [delay(990_002, 0.001)]))
