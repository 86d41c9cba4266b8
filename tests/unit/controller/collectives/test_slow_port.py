"""A ring with one slow port: a connection delivers its messages in order, so the ring goes at the rate of that port."""

from pathlib import Path

import pytest

from controller.collectives.bulk.timing import Ground, time_in_bulk
from controller.collectives.call import Call
from controller.collectives.group import Group, group_of
from controller.collectives.measure.calls import measure, prepare
from controller.collectives.protocol import PLAIN
from controller.topology.loader import load_topology
from controller.topology.schema import Topology

NAMES = ("a0", "a1", "a2", "b")
COUNT = 26_214_400
CHUNK_S = COUNT * 4 / 4 / 10e9
"""A quarter of 100 MiB over the port of `b`: 2.62 ms."""


@pytest.fixture(scope="module")
def slow_port(tmp_path_factory: pytest.TempPathFactory) -> Topology:
    file: Path = tmp_path_factory.mktemp("slow") / "slow_port.yaml"
    file.write_text(
        """
name: slow_port
hosts:
  box:
    switches: [sw]
    devices:
      a: {product: h100_sxm, count: 3}
      b: {product: h100_sxm}
    links:
      - {ends: [a.nvlink, sw], bandwidth: 50 GB/s, latency: 5 ns}
      - {ends: [b.nvlink, sw], bandwidth: 10 GB/s, latency: 5 ns}
"""
    )
    return load_topology(file)


def _group(topology: Topology) -> Group:
    return group_of(topology, NAMES)


def _call(topology: Topology, collective: str, pieces: int = 1, in_place: bool = True, count: int = COUNT) -> Call:
    return Call(collective, _group(topology), count, "fp32", in_place, pieces=pieces)


def _time(topology: Topology, call: Call, name: str = "ring") -> float:
    entry = prepare(call, name)
    measure(topology, entry)
    assert entry.time_s is not None
    return entry.time_s


@pytest.mark.parametrize(("collective", "steps"), [("all_gather", 3), ("reduce_scatter", 3), ("all_reduce", 6)])
def test_every_step_takes_one_chunk_over_the_slow_port(slow_port, collective, steps) -> None:
    """b gets chunk after chunk at 10 GB/s, and sends on what it has while the next one comes."""
    assert _time(slow_port, _call(slow_port, collective)) == pytest.approx(steps * CHUNK_S, rel=0.02)


def test_pieces_of_a_chunk_follow_each_other_on_a_connection(slow_port) -> None:
    """The slow port is never idle, so pieces hide the reductions and nothing else."""
    whole, cut = (_time(slow_port, _call(slow_port, "all_reduce", pieces)) for pieces in (1, 8))
    assert 6 * CHUNK_S < cut < whole


def test_a_piece_of_recursive_halving_does_not_wait_for_the_doubling_of_another(box, group) -> None:
    """Small pieces take latencies and launches alone, and those of two pieces overlap."""
    whole, cut = (
        _time(box(8), Call("all_reduce", group(8), 64, "fp32", pieces=pieces), "halving_doubling") for pieces in (1, 4)
    )
    assert cut < 3 * whole


@pytest.mark.parametrize("collective", ["all_gather", "reduce_scatter", "all_reduce"])
@pytest.mark.parametrize("pieces", [1, 3])
@pytest.mark.parametrize("count", [COUNT, 4_001, 3])
def test_bulk_timing_keeps_the_order_of_a_connection_too(slow_port, collective, pieces, count) -> None:
    call = _call(slow_port, collective, pieces, count=count)
    expected = _time(slow_port, call)
    for stream_above in (10**9, 1):
        found = time_in_bulk(Ground(slow_port, call.group), call, "ring", PLAIN, stream_above=stream_above)
        assert found.time_s == pytest.approx(expected, rel=1e-9)
