"""Peaks, edges from frees, and what does not fit; a tier of 100 bytes."""

import pytest

from controller.errors import DoubleFree, OutOfMemory
from controller.plan.build import PlanBuilder
from controller.plan.capacity import fit_plan
from controller.plan.ops import Alloc, Buffer, Free, Plan

HBM = ("gpu", "hbm")


def buffer(name: str, size: int, device: str = "gpu") -> Buffer:
    return Buffer(device, "hbm", name, "uint8", (size,))


def fit(*ops: Alloc | Free, used: int = 0):
    plan = Plan("fit", ops, ((),) * len(ops))
    return fit_plan(plan, {HBM: used}, {HBM: 100, ("far", "hbm"): 100})


A, B, C = buffer("a", 60), buffer("b", 40), buffer("c", 50)


def test_the_peak_counts_what_was_there() -> None:
    assert fit(Alloc(A), used=40).peak_bytes == {HBM: 100}
    assert fit(Alloc(A), Alloc(B)).peak_bytes == {HBM: 100}
    assert fit().peak_bytes == {}


def test_no_edges_while_everything_fits_at_once() -> None:
    found = fit(Alloc(B), Free(B), Alloc(C))
    assert found.extra_after == {}
    # Nothing keeps the free from being late, so both may be there together.
    assert found.peak_bytes == {HBM: 90}


def test_an_allocation_waits_for_the_oldest_frees_that_make_room() -> None:
    small = [buffer(f"s{index}", 25) for index in range(4)]
    ops = [*map(Alloc, small), *map(Free, small), Alloc(C), Alloc(B)]
    found = fit(*ops)
    assert found.extra_after == {8: (4, 5), 9: (6, 7, 8)}
    assert found.peak_bytes == {HBM: 100}


def test_a_free_is_claimed_once() -> None:
    """b takes the room of a; c then has to wait for b although a was freed too."""
    found = fit(Alloc(A), Free(A), Alloc(buffer("b", 70)), Free(buffer("b", 70)), Alloc(C))
    assert found.extra_after == {2: (1,), 4: (2, 3)}


def test_the_rest_of_a_freed_room_is_not_there_before_the_free() -> None:
    """a leaves 60 bytes: c takes 50 of them, and d the rest, which is not there before either."""
    found = fit(Alloc(A), Alloc(B), Free(A), Alloc(C), Alloc(buffer("d", 10)))
    assert found.extra_after == {3: (2,), 4: (3,)}


def test_tiers_do_not_help_each_other() -> None:
    far = buffer("far", 100, "far")
    found = fit(Alloc(far), Free(far), Alloc(A))
    assert (found.peak_bytes, found.extra_after) == ({("far", "hbm"): 100, HBM: 60}, {})


def test_what_was_placed_before_may_be_freed_inside() -> None:
    found = fit(Free(A), Alloc(buffer("new", 90)), used=60)
    assert (found.extra_after, found.peak_bytes) == ({1: (0,)}, {HBM: 90})


def test_what_never_fits_says_what_is_missing() -> None:
    with pytest.raises(OutOfMemory) as caught:
        fit(Alloc(A), Alloc(C), Free(A))
    error = caught.value
    assert (error.device, error.tier, error.need_bytes, error.free_bytes, error.capacity_bytes, error.what) == (
        "gpu", "hbm", 50, 40, 100, "c",
    )  # fmt: skip
    assert error.missing_bytes == 10
    assert str(error) == "OOM at gpu.hbm: 10 bytes missing (c needs 50, 40 free of 100)"


@pytest.mark.parametrize(
    "ops", [(Alloc(A), Alloc(A)), (Alloc(B), Free(B), Free(B)), (Free(B), Free(B))], ids=["alloc", "free", "outside"]
)
def test_twice(ops) -> None:
    with pytest.raises(DoubleFree):
        fit(*ops, used=40)


def test_a_second_life_is_allowed() -> None:
    assert fit(Alloc(A), Free(A), Alloc(A)).extra_after == {2: (1,)}


def test_the_builder_and_the_fit_agree_on_a_chain_of_temporaries() -> None:
    build = PlanBuilder("chain")
    for index in range(5):
        build.alloc(buffer(f"t{index}", 60))
        build.free(buffer(f"t{index}", 60))
    found = fit_plan(build.plan(), {HBM: 0}, {HBM: 100})
    assert found.extra_after == {2: (1,), 4: (2, 3), 6: (4, 5), 8: (6, 7)}
    assert found.peak_bytes == {HBM: 60}
