"""Traces written by hand, whose times follow from one line each."""

import pytest

from controller.capture.errors import RanksDisagree
from controller.capture.lowering.kernels import CallCosts
from controller.capture.timing.host import COLLECTIVE_CALLS
from controller.capture.timing.run import play
from controller.capture.trace import CallSignature, RankTrace, TensorOperand
from controller.collectives.group import first_ranks
from controller.faults.timeline import with_faults
from controller.topology.fault import Component, Fault
from controller.topology.loader import load_topology

BIG = TensorOperand((1 << 28,), "fp32", 1 << 28, True)
CALL = CallSignature("aten.add.Tensor", (BIG, BIG), (BIG,), ())
ALL_GATHER = ["collective", "0", "all_gather", "bf16", 1 << 25, 1 << 28, 1, 5, False, {}, "here.py:1"]


@pytest.fixture(scope="module")
def topology():
    return load_topology("dgx_h100")


def trace(rank, *events):
    steps = [["step", 1], *events, ["step", 2]]
    return RankTrace(rank, steps, (CALL,), {"0": tuple(range(8))}, {}, {}, (), "", "", 2)


def played(topology, *traces):
    return play(topology, first_ranks(topology, 8), {each.rank: each for each in traces})


def kernel(stream):
    return ["kernel", 0, stream, 0, False]


def alone_s(topology):
    return CallCosts(topology.devices["gpu0"].spec).of(CALL).time_s


def test_kernels_of_a_stream_follow_each_other(topology):
    call_s = topology.devices["gpu0"].spec.issue_queue.launch_s
    found = played(topology, trace(0, kernel(0), kernel(0))).step_s
    assert found == pytest.approx((call_s + 2 * alone_s(topology),))


def test_a_stream_waits_for_the_event_of_another(topology):
    found = played(topology, trace(0, kernel(0), ["record", 1, 0], ["wait", 1, 5], kernel(5))).step_s
    assert found[0] >= 2 * alone_s(topology)


def test_a_collective_hides_behind_a_kernel_of_another_stream(topology):
    hidden = played(topology, trace(0, ALL_GATHER, kernel(0))).step_s[0]
    (row,) = (each for each in played(topology, trace(0, ALL_GATHER)).costs.values())
    call_s = topology.devices["gpu0"].spec.issue_queue.launch_s
    assert hidden < alone_s(topology) + row.time_s + COLLECTIVE_CALLS * call_s
    waits = trace(0, ALL_GATHER, ["join", 1, 0], kernel(0))
    assert played(topology, waits).step_s[0] >= alone_s(topology) + row.time_s


def test_the_host_waits_where_it_asks_for_a_value(topology):
    asks = trace(0, kernel(0), ["sync", "value", 0, "", 0], kernel(0))
    call_s = topology.devices["gpu0"].spec.issue_queue.launch_s
    assert played(topology, asks).step_s == pytest.approx((2 * (call_s + alone_s(topology)),))


def test_ranks_whose_collectives_disagree_are_named(topology):
    other = [*ALL_GATHER[:2], "all_reduce", *ALL_GATHER[3:]]
    with pytest.raises(RanksDisagree, match=r"rank 0 is in all_gather of bf16 \(here.py:1\), rank 3 is in all_reduce"):
        played(topology, trace(0, ALL_GATHER), trace(3, other))


def test_a_rank_that_never_comes_is_named(topology):
    with pytest.raises(RanksDisagree, match=r"rank 0 is in all_gather .* rank 3 never comes"):
        played(topology, trace(0, ALL_GATHER), trace(3, kernel(0)))


def test_a_slow_device_takes_longer_and_holds_up_the_others(topology):
    both = (trace(0, kernel(0), ALL_GATHER), trace(3, kernel(0), ALL_GATHER))
    plain = played(topology, *both).step_s[0]
    fault = Fault(Component("device", "gpu3"), "slow", 2.0, 0.0)
    slow = played(with_faults(topology, [fault]), *both).step_s[0]
    # Twice as long for its kernel, and for what of the collective its own device does.
    assert plain + 0.9 * alone_s(topology) < slow < plain + 1.2 * alone_s(topology)
