"""What a group is asked to do before it counts as right: nothing of the tables is left out in silence."""

import pytest

from controller.collectives.attention.table import SCHEMES
from controller.collectives.errors import BadGroup
from controller.collectives.group import only
from controller.collectives.measure.conformance import PRIME, names, note, program_of, spread, suite
from controller.collectives.table import COLLECTIVES
from controller.execute.virtual import run_virtual
from controller.topology.loader import load_topology

ONE = load_topology("dgx_h100", ["gpu.count=17"])
TWO = load_topology("two_dgx_h100")


@pytest.mark.parametrize("ranks", [1, 5, 17])
def test_in_one_host_every_entry_runs_with_every_type(ranks):
    found = suite(spread(ONE, ranks, 1), names(), ("fp32", "bf16", "int32"))
    assert not found.refused
    expected = {
        (f"{collective}/{name}", dtype)
        for collective, entries in COLLECTIVES.items()
        for name in entries
        for dtype in ("fp32", "bf16", "int32")
    } | {(f"attention/{scheme}", dtype) for scheme in SCHEMES for dtype in ("fp32", "bf16")}
    assert {(check.name, check.dtype) for check in found.checks} == expected


def test_sizes_are_uneven_and_both_places_and_pieces_are_seen():
    found = suite(spread(ONE, 5, 1), ("all_reduce/ring", "all_to_all/direct"), ("fp32",))
    ring = {(check.count, check.in_place, check.pieces) for check in found.checks if check.name == "all_reduce/ring"}
    assert ring == {(4, False, 1), (4, True, 2), (PRIME, False, 2), (PRIME, True, 1)}
    assert [check.in_place for check in found.checks if check.name == "all_to_all/direct"] == [False, False]
    assert [check.elements for check in found.checks if check.name == "all_reduce/ring"] == [20, 20, 5105, 5105]


def test_what_cannot_run_is_named_with_its_reason():
    found = suite(spread(TWO, 5, 2), ("all_reduce/hierarchical", "all_reduce/ring"), ("fp32",))
    assert list(found.refused) == ["all_reduce/hierarchical, fp32"]
    assert "2, 3" in found.refused["all_reduce/hierarchical, fp32"]
    assert {check.name for check in found.checks} == {"all_reduce/ring"}


def test_by_hosts_only_what_goes_by_hosts_is_left():
    found = suite(spread(TWO, 6, 2), names(), ("fp32",), by_hosts=True)
    assert {check.name for check in found.checks} == {
        "all_reduce/hierarchical", "all_reduce/three_level", "all_reduce/nvls_tree", "all_to_all/hierarchical",
        "all_reduce/rings", "all_gather/rings", "reduce_scatter/rings",
    }  # fmt: skip


def test_a_spread_is_even_and_needs_the_devices():
    assert spread(TWO, 5, 2).devices == ("gpu_a0", "gpu_a1", "gpu_a2", "gpu_b0", "gpu_b1")
    with pytest.raises(BadGroup, match="too few for 17 ranks over 2 hosts"):
        spread(TWO, 17, 2)
    with pytest.raises(BadGroup, match="over 3 hosts"):
        spread(TWO, 3, 3)


def test_its_program_runs_through_on_the_virtual_clock():
    found = suite(spread(ONE, 3, 1), names(), ("fp32",))
    outcome = run_virtual(only(ONE, found.group), [program_of(found)])
    assert outcome.ok
    note(found, outcome)
    assert all(check.entry.wrong is None and check.entry.time_s is not None for check in found.checks)
