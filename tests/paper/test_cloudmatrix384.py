"""CloudMatrix384 (arXiv 2506.12708v2): tables 1 and 7 on the declared fabric.

==================================  =========  =========  ===========
claim                               published  ours    tolerance
==================================  =========  =========  ===========
NPU-NPU write between nodes [GB/s]  135        136.9   10 %
NPU-NPU read between nodes [us]     1.9        2.0     10 %
dispatch EP 32 [us]                 133        126.8   25 % (fixed)
dispatch EP 128 [us]                152        129.5   25 % (fixed)
dispatch EP 128 [us]                152        134.8   15 % (per peer)
combine EP 32 [us]                  146        138.1   25 % (fixed)
combine EP 128 [us]                 150        143.1   25 % (fixed)
decode, batch 96: TPOT [ms]         49.4       40.9    10 % (missed)
decode, batch 8: TPOT [ms]          14.9       15.9    10 %
layer without, with MTP [us]        874, 1260  697, 1059  10 % (missed)
prefill, balanced [tokens/s]        6688       7132    10 %
prefill, two micro-batches [%]      23 to 31   28.5    in the range
==================================  =========  =========  ===========
"""

import pytest

from controller.reproduce.cloudmatrix384 import (
    OPERATORS,
    UB_DOWN,
    operator_time_us,
    pair_rate,
    pair_time_s,
    paper,
    with_flags,
)
from controller.reproduce.rows import compare

PAPER = paper()
MISSED = {"decode-tpot-96", "decode-rate_per_npu-96", "layer-time-0-96", "layer-time-1-96"}
"""Targets that one die's operators do not reach: the paper's streams take longer than these."""
PRINTED = ("microbatches",)
"""Tables that are printed and far off."""


def named(row) -> str:
    return f"{row.table}-{row.quantity}-" + "-".join(map(str, row.row.values()))


def cases():
    slow = [pytest.mark.slow]
    return [pytest.param(row, id=named(row), marks=slow * (row.row.get("ep") == 128)) for row in PAPER.rows]


@pytest.mark.parametrize("row", cases())
def test_every_row_is_met_and_calibration_rows_are_what_they_say(row):
    compared = compare(PAPER, row, {})
    said = f"{compared.published} published, {compared.ours} ours"
    if row.calibration:
        assert compared.ok is None and row.tolerance is None and abs(compared.error) < 0.005, said
    elif row.table in PRINTED:
        assert row.tolerance is None and isinstance(compared.ours, float), said
    elif row.why:
        assert row.tolerance is None and compared.error > 0, said
    elif row.tolerance is None:
        assert abs(compared.error) < 0.01, said
    elif named(row) in MISSED:
        assert not compared.holds and abs(compared.error) < 0.25, said
    else:
        assert compared.holds, said
        assert compared.ok is (None if row.identity else True)


def test_a_calibration_row_counts_in_no_target_and_only_the_first_degree_is_one():
    fitted = [row for row in PAPER.rows if row.calibration and "ep" in row.row]
    assert {row.row["ep"] for row in fitted} == {8}
    assert len(fitted) == sum(len(operator.fixed_us) for operator in OPERATORS.values())


def test_a_cost_per_peer_brings_dispatch_closer_without_another_constant():
    published = OPERATORS["cann", "dispatch"].published_us[32]
    fixed, per_peer = (operator_time_us("cann", "dispatch", 32, variant) for variant in ("fixed", "per_peer"))
    assert fixed < per_peer < published


def test_two_dies_of_a_package_do_not_use_the_ub_plane():
    """Die to die 210 GB/s, inside of a node 137, over RDMA 25: three different ways."""
    assert pair_rate("npu1") == pytest.approx(210, rel=1e-3)
    assert pair_rate("npu2") == pytest.approx(137, rel=1e-3)
    assert pair_rate("npu2", (UB_DOWN,)) == pytest.approx(25, rel=1e-3)


def test_latency_of_the_rdma_plane_is_that_of_its_four_links():
    assert pair_time_s("npu16", 512, (UB_DOWN,)) == pytest.approx(4 * 1.35e-6 + 512 / 25e9, rel=1e-6)


def test_a_flag_waits_for_the_data_of_its_die():
    from functools import partial

    from controller.collectives.call import Call
    from controller.collectives.group import first_ranks
    from controller.collectives.measure.calls import plan_of
    from controller.plan.ops import Transfer
    from controller.topology.loader import load_topology

    call = Call("all_to_all", first_ranks(load_topology("cloudmatrix384"), 4), 4096, "int8")
    plan = plan_of(call, partial(with_flags, "per_peer"), "with_flags")
    flags = [index for index, op in enumerate(plan.ops) if isinstance(op, Transfer) and op.label == "flag"]
    assert len(flags) == 4 * 3
    for index in flags:
        (barrier,) = plan.after[index]
        sender = plan.ops[index].sources[0].buffer.device
        waited = [plan.ops[each] for each in plan.after[barrier] if isinstance(plan.ops[each], Transfer)]
        assert [op.sources[0].buffer.device for op in waited] == [sender] * 3


@pytest.mark.parametrize(("hosts", "dies"), [(1, 16), (4, 64), (32, 512), (48, 768)])
def test_cuts_of_the_supernode_keep_its_planes(hosts, dies):
    from controller.topology.loader import load_topology

    topology = load_topology("cloudmatrix384", (f"fabric.hosts={hosts}",))
    counts = {kind: len(topology.of_kind(kind)) for kind in ("npu", "cpu", "csd")}
    assert counts == {"npu": dies, "cpu": 4 * hosts, "csd": hosts}


def test_the_vpc_plane_joins_hosts_where_ub_does_not():
    """An idle UB is nearer; without it a node has 400 Gb/s for all of its CPUs, and block storage is behind it."""
    from controller.topology.graph import route
    from controller.topology.loader import load_topology

    plain, cut = (load_topology("cloudmatrix384", given) for given in ((), ("link.cpu.ub-ub_l1.failed=true",)))
    assert {hop.head.vertex for hop in route(plain, "cpu0", "cpu5").hops} & {"ub_l2"}
    assert [hop.head.vertex for hop in route(cut, "cpu0", "cpu5").hops] == ["dpu_h0", "vpc", "dpu_h1", "cpu5"]
    assert [hop.head.vertex for hop in route(plain, "evs0", "cpu7").hops][1] == "vpc"
