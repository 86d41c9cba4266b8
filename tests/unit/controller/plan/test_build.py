"""Edges from what ops read and write, whole buffers and parts of them."""

import dataclasses

from controller.plan.build import PlanBuilder
from controller.plan.ops import Buffer, Origin, View
from controller.plan.size import symbol


def buffer(name: str, rows: int = 8) -> Buffer:
    return Buffer("gpu", "hbm", name, "fp32", (rows, 4))


A, B, C = buffer("a"), buffer("b"), buffer("c")


def edges(build: PlanBuilder) -> list[tuple[int, ...]]:
    return list(build.plan().after)


def relu(build: PlanBuilder, source, target) -> int:
    return build.kernel("activation", "gpu", [source], [target], kind="relu")


def test_a_reader_follows_the_writer() -> None:
    build = PlanBuilder("raw")
    relu(build, A, B)
    relu(build, B, C)
    assert edges(build) == [(), (0,)]


def test_a_writer_follows_the_readers_and_the_writer_before() -> None:
    build = PlanBuilder("war, waw")
    relu(build, A, B)  # writes b
    relu(build, B, C)  # reads b
    relu(build, A, B)  # writes b again
    assert edges(build)[2] == (0, 1)


def test_readers_do_not_wait_for_each_other() -> None:
    build = PlanBuilder("rar")
    relu(build, A, B)
    relu(build, A, C)
    assert edges(build) == [(), ()]


def test_an_op_in_place_does_not_wait_for_itself() -> None:
    build = PlanBuilder("in place")
    relu(build, A, A)
    relu(build, A, A)
    assert edges(build) == [(), (0,)]


def test_two_halves_of_a_buffer_are_independent() -> None:
    build = PlanBuilder("halves")
    relu(build, A.rows(0, 4), B.rows(0, 4))
    relu(build, A.rows(4, 8), B.rows(4, 8))
    relu(build, B.rows(0, 4), C.rows(0, 4))
    relu(build, B.rows(4, 8), C.rows(4, 8))
    relu(build, C, A)
    assert edges(build) == [(), (), (0,), (1,), (0, 1, 2, 3)]


def test_a_range_is_split_where_an_access_ends_inside_it() -> None:
    build = PlanBuilder("split")
    relu(build, A, B)  # 0 writes b[0:8]
    relu(build, C.rows(2, 5), B.rows(2, 5))  # 1 writes b[2:5]
    relu(build, B.rows(0, 2), C.rows(0, 2))  # 2 reads what 0 wrote
    relu(build, B.rows(4, 6), C.rows(6, 8))  # 3 reads from both
    relu(build, A.rows(0, 1), B.rows(5, 6))  # 4 writes what 3 reads, in the part of 0
    assert edges(build)[1:] == [(0,), (0,), (0, 1), (0, 3)]


def test_reads_of_a_part_are_remembered_in_every_piece() -> None:
    build = PlanBuilder("pieces")
    relu(build, A, C)  # 0 reads all of a
    relu(build, B.rows(0, 1), A.rows(3, 4))  # 1 cuts a in three
    relu(build, B.rows(0, 1), A.rows(0, 1))  # 2
    relu(build, B.rows(0, 1), A.rows(7, 8))  # 3
    assert edges(build)[1:] == [(0,), (0,), (0,)]


def test_an_open_offset_counts_as_the_whole_buffer() -> None:
    row = symbol("row")
    build = PlanBuilder("open")
    relu(build, A.rows(0, 1), View(B, row * 16, (1, 4)))
    relu(build, B.rows(7, 8), C.rows(0, 1))
    relu(build, A.rows(1, 2), View(B, row * 16, (1, 4)))
    plan = build.plan()
    assert plan.after == ((), (0,), (0, 1))
    assert plan.parameters == {"row"}


def test_an_open_extent_reaches_to_the_end() -> None:
    build = PlanBuilder("open extent")
    relu(build, A, B)
    relu(build, C.rows(0, 2), B.rows(0, 2))
    relu(build, View(B, 2 * 16, (symbol("n"), 4)), View(C, 2 * 16, (symbol("n"), 4)))
    assert edges(build)[2] == (0,)


def test_parameters_are_found_wherever_they_stand() -> None:
    build = PlanBuilder("parameters")
    build.kernel("kv_write", "gpu", [A], [B], position=symbol("position"), tokens=1)
    build.kernel("decode_attention", "gpu", [A], [B], tokens=(symbol("t0"), 3), scale=1.0)
    build.transfer(View(A, symbol("from"), (1, 4)), View(C, 0, (1, symbol("n"))))
    assert build.plan().parameters == {"position", "t0", "from", "n"}


def test_a_transfer_reads_its_sources_and_writes_its_destinations() -> None:
    far = [Buffer(name, "dram", "x", "fp32", (8, 4)) for name in ("cpu", "csd0")]
    build = PlanBuilder("multicast")
    relu(build, A, B)
    build.transfer(B, far)
    build.transfer(far[1], C)
    assert edges(build) == [(), (0,), (1,)]


def test_life_of_a_buffer_inside_a_plan() -> None:
    build = PlanBuilder("life")
    build.alloc(B)  # 0
    relu(build, A, B)  # 1
    relu(build, B, C)  # 2
    build.free(B)  # 3
    build.alloc(B)  # 4: a second life
    relu(build, A, B)  # 5
    assert edges(build) == [(), (0,), (1,), (1, 2), (3,), (4,)]


def test_further_edges_are_kept_without_doubles() -> None:
    build = PlanBuilder("after")
    first = relu(build, A, B)
    build.kernel("activation", "gpu", [A], [C], kind="relu", after=[first, first])
    build.transfer(B, C, after=[first])
    assert edges(build)[1:] == [(0,), (0, 1)]


def test_the_builder_goes_on_after_a_plan() -> None:
    build = PlanBuilder("two")
    relu(build, A, B)
    first = build.plan()
    relu(build, B, C)
    assert (len(first.ops), len(build.plan().ops), build.count) == (1, 2, 2)


def test_a_changed_copy_is_checked_like_any_plan() -> None:
    build = PlanBuilder("original")
    relu(build, A, B)
    plan = build.plan()
    assert plan.origin is Origin.BUILDER
    assert dataclasses.replace(plan, after=((),)).origin is Origin.ANYBODY
