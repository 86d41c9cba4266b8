"""What holds for every algorithm of the table, whatever it is."""

import importlib
from dataclasses import replace

import numpy as np
import pytest
from plan_values import earliest, latest, wrong_elements

from controller.collectives.call import NO_IN_PLACE, Call
from controller.collectives.measure.calls import measure, plan_of, prepare
from controller.collectives.measure.verify import seeded_input, wrong_count
from controller.collectives.table import BUS_FACTORS, COLLECTIVES, algorithm
from controller.plan.check import check_plan

ENTRIES = [(collective, name) for collective, names in COLLECTIVES.items() for name in names]
SIZES = range(1, 18)


def calls(collective, group, dtype="fp32", counts=(5, 37), pieces=(1, 3)):
    for count in (1,) if collective == "barrier" else counts:
        for cut in pieces:
            for in_place in (False,) if collective in NO_IN_PLACE else (False, True):
                yield Call(collective, group, count, dtype, in_place, pieces=cut)


@pytest.mark.parametrize(("collective", "name"), ENTRIES)
@pytest.mark.parametrize("size", SIZES)
def test_every_element_is_right_in_either_order_that_the_edges_allow(collective, name, size, group):
    for call in calls(collective, group(size)):
        plan = plan_of(call, algorithm(collective, name), name)
        for pick in (earliest, latest):
            assert wrong_elements(call, plan, pick) == [0] * size, f"{call}, {pick.__name__}"


@pytest.mark.parametrize(("collective", "name"), ENTRIES)
@pytest.mark.parametrize("dtype", ["int32", "fp16", "bf16", "int8"])
def test_every_type(collective, name, dtype, group):
    for call in calls(collective, group(6), dtype, counts=(37,)):
        assert wrong_elements(call, plan_of(call, algorithm(collective, name), name)) == [0] * 6


@pytest.mark.parametrize(("collective", "name"), ENTRIES)
@pytest.mark.parametrize("size", [1, 2, 3, 5, 8])
def test_it_is_executable_and_takes_time_unless_there_is_nothing_to_do(collective, name, size, group, box):
    for call in calls(collective, group(size), counts=(2, 37)):
        entry = prepare(call, name)
        check_plan(entry.plan, box(size))
        assert measure(box(size), entry).ok
        assert entry.time_s > 0 or (not entry.plan.ops and entry.time_s == 0 and size == 1)


@pytest.mark.parametrize(("collective", "name"), ENTRIES)
def test_the_same_call_gives_the_same_plan(collective, name, group):
    call = Call(collective, group(7), 100)
    assert plan_of(call, algorithm(collective, name), name) == plan_of(call, algorithm(collective, name), name)


@pytest.mark.parametrize(
    ("collective", "name"), [entry for entry in ENTRIES if entry[0] in ("broadcast", "all_reduce")]
)
def test_any_rank_can_be_the_root(collective, name, group):
    for root in range(5):
        call = Call(collective, group(5), 11, root=root)
        assert wrong_elements(call, plan_of(call, algorithm(collective, name), name)) == [0] * 5


@pytest.mark.parametrize(("collective", "name"), ENTRIES)
def test_its_module_says_where_it_comes_from(collective, name):
    text = importlib.import_module(COLLECTIVES[collective][name].partition(":")[0]).__doc__
    for heading in ("Paper:", "Follows:", "Differs:", "Checked by:"):
        assert heading in text


def test_every_collective_has_a_bus_factor():
    assert set(BUS_FACTORS) == set(COLLECTIVES)
    assert [BUS_FACTORS[name].of(8) for name in ("all_reduce", "all_gather", "broadcast")] == [1.75, 0.875, 1]


@pytest.mark.parametrize(("collective", "name"), [entry for entry in ENTRIES if entry[0] != "barrier"])
def test_a_plan_that_loses_an_op_is_caught(collective, name, group):
    """The proof must be able to fail: without its last op a plan leaves something wrong."""
    call = Call(collective, group(4), 64)
    plan = plan_of(call, algorithm(collective, name), name)
    shorter = replace(plan, ops=plan.ops[:-1], after=plan.after[:-1])
    assert sum(wrong_elements(call, shorter)) > 0


@pytest.mark.parametrize("dtype", ["fp32", "fp16", "bf16", "int32"])
def test_one_wrong_element_counts_as_one(dtype, group):
    call = Call("all_reduce", group(4), 100, dtype)
    inputs = [seeded_input(call, rank) for rank in range(4)]
    right = np.sum(inputs, axis=0, dtype=inputs[0].dtype)
    assert wrong_count(call, 0, right, inputs) == 0
    for wrong in (right[7] + 1, inputs[0][7], np.nan if inputs[0].dtype.kind == "f" else 3):
        output = right.copy()
        output[7] = wrong
        assert wrong_count(call, 0, output, inputs) == 1
    assert wrong_count(call, 0, right[:-1], inputs) > 0


def test_inputs_differ_by_rank_and_seed_and_repeat(group):
    call = Call("all_reduce", group(2), 50)
    assert (seeded_input(call, 0) == seeded_input(call, 0)).all()
    assert (seeded_input(call, 0) != seeded_input(call, 1)).any()
    assert (seeded_input(call, 0) != seeded_input(call, 0, seed=1)).any()
