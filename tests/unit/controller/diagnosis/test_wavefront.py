"""Which ranks hold up the others; every case is a row of the table of what a Flight Recorder says."""

import itertools

import pytest

from controller.diagnosis.formats.flight_recorder_content import dump_of
from controller.diagnosis.wavefront import wavefront
from tests.support.recorded_dumps import content

WORLD = {"world": (0, 1, 2, 3)}


def dumps_of(issued, groups=WORLD):
    return [dump_of(content(groups, ops), rank, f"dump_{rank}") for rank, ops in issued.items()]


def in_op(state="started", seq=2):
    return [("world", "all_reduce", 1, "completed"), ("world", "all_reduce", seq, state)]


def test_who_never_enters_is_named_in_any_order_of_files() -> None:
    issued = {rank: in_op() for rank in (0, 1, 3)} | {2: in_op()[:1]}
    for order in itertools.permutations(dumps_of(issued)):
        found = wavefront(order)
        assert found.ranks == (2,)
        assert found.guilty[0].kind == "never entered"
        assert found.guilty[0].victims == (0, 1, 3)


def test_who_left_no_dump_and_is_waited_for_is_named() -> None:
    found = wavefront(dumps_of({rank: in_op() for rank in (0, 1, 3)}))
    assert [(each.rank, each.kind) for each in found.guilty] == [(2, "no dump")]
    assert found.without_dump == (2,)


def test_a_missing_dump_that_nobody_waits_for_is_said_and_not_blamed() -> None:
    found = wavefront(dumps_of({rank: in_op("completed") for rank in (0, 1, 3)}))
    assert found.ranks == ()
    assert found.without_dump == (2,)


def test_who_is_stuck_in_what_others_have_completed_is_named() -> None:
    behind = [*in_op("completed"), ("world", "all_reduce", 3, "started")]
    issued = dict.fromkeys((0, 1, 3), behind) | {2: in_op("started")}
    found = wavefront(dumps_of(issued))
    assert [(each.rank, each.kind) for each in found.guilty] == [(2, "stuck")]


def test_a_dead_link_names_the_communicator_and_no_rank() -> None:
    found = wavefront(dumps_of({rank: in_op() for rank in range(4)}))
    assert found.ranks == ()
    assert [str(group) for group, _ in found.standing] == ["world group world"]


def test_slow_ranks_leave_nothing() -> None:
    found = wavefront(dumps_of({rank: in_op("completed") for rank in range(4)}))
    assert (found.ranks, found.standing) == ((), ())


@pytest.mark.parametrize("what", ["input_sizes", "input_dtypes"])
@pytest.mark.parametrize("guilty", range(4))
def test_the_one_whose_operation_differs_is_named_wherever_its_file_comes(what, guilty) -> None:
    contents = {rank: content(WORLD, in_op()) for rank in range(4)}
    contents[guilty]["entries"][1][what] = [[9]] if what == "input_sizes" else ["Half"]
    dumps = [dump_of(held, rank, "") for rank, held in contents.items()]
    for order in (dumps, dumps[::-1]):
        assert wavefront(order).ranks == (guilty,)


def test_victims_in_nested_groups_are_not_blamed() -> None:
    """2 x 2: rank 3 never enters its tensor group; 2 waits there, and 0 and 1 wait for 2 and 3 in their data groups."""
    tensor = {0: "low", 1: "low", 2: "high", 3: "high"}
    groups = {"low": (0, 1), "high": (2, 3), "even": (0, 2), "odd": (1, 3)}
    issued = {
        rank: [
            (tensor[rank], "all_reduce", 7, "completed"),
            ("even" if rank % 2 == 0 else "odd", "all_reduce", 5, "started"),
        ]
        for rank in (0, 1)
    }
    issued[2] = [("high", "all_reduce", 7, "started")]
    issued[3] = []
    for order in itertools.permutations(dumps_of(issued, groups)):
        found = wavefront(order)
        assert found.ranks == (3,)
        assert found.guilty[0].victims == (0, 1, 2)


def test_messages_of_a_pipeline_lead_to_the_stage_that_stopped() -> None:
    pipe = {"pipe": (0, 1, 2)}
    issued = {
        0: [("pipe", "send 0->1", 4, "scheduled")],
        1: [("pipe", "recv 1<-0", 7, "completed"), ("pipe", "send 1->2", 8, "scheduled")],
        2: [],
    }
    found = wavefront(dumps_of(issued, pipe))
    assert found.ranks == (2,)


def test_what_the_recorder_has_dropped_is_not_missing() -> None:
    issued = {0: in_op(seq=2), 1: in_op(seq=2), 3: in_op(seq=2)}
    issued[2] = [("world", "all_reduce", 9, "completed")]
    found = wavefront(dumps_of(issued))
    assert 2 not in found.ranks
