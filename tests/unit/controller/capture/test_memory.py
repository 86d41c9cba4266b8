from hypothesis import given
from hypothesis import strategies as st

from controller.capture.memory import LARGE_SEGMENT_BYTES, SMALL_SEGMENT_BYTES, Allocator

CAPACITY = 80 << 30


def test_a_small_request_reserves_a_small_segment_and_the_next_one_shares_it():
    allocator = Allocator(CAPACITY)
    allocator.take(1000, 0)
    allocator.take(1000, 0)
    assert (allocator.allocated, allocator.reserved) == (2048, SMALL_SEGMENT_BYTES)


def test_streams_do_not_share_segments():
    allocator = Allocator(CAPACITY)
    allocator.take(1000, 0)
    allocator.take(1000, 1)
    assert allocator.reserved == 2 * SMALL_SEGMENT_BYTES


def test_a_middle_request_takes_a_part_of_twenty_mebibytes():
    allocator = Allocator(CAPACITY)
    allocator.take(2 << 20, 0)
    allocator.take(8 << 20, 0)
    assert allocator.reserved == LARGE_SEGMENT_BYTES


def test_freed_neighbours_grow_together():
    allocator = Allocator(CAPACITY)
    first, second = allocator.take(2 << 20, 0), allocator.take(2 << 20, 0)
    allocator.give(first)
    allocator.give(second)
    allocator.take(9 << 20, 0)
    assert allocator.reserved == LARGE_SEGMENT_BYTES


def test_what_is_wholly_free_goes_back_before_the_device_is_full():
    allocator = Allocator(8 << 30)
    block = allocator.take(5 << 30, 0)
    allocator.give(block)
    assert allocator.take(6 << 30, 0) is not None
    assert allocator.reserved == 6 << 30


def test_a_full_device_gives_nothing():
    allocator = Allocator(4 << 30)
    assert allocator.take(5 << 30, 0) is None


@given(st.lists(st.tuples(st.integers(1, 64 << 20), st.integers(0, 2), st.booleans()), max_size=60))
def test_bytes_are_conserved(requests):
    allocator, held = Allocator(CAPACITY), []
    for size, stream, keeps in requests:
        held.append(allocator.take(size, stream))
        if not keeps:
            allocator.give(held.pop(len(held) // 2))
        assert allocator.allocated == sum(block.size for block in held)
        assert allocator.allocated <= allocator.reserved <= allocator.peak_reserved
    for block in held:
        allocator.give(block)
    assert allocator.allocated == 0
    free = sum(size for pool in allocator._free.values() for size, _, _ in pool)
    assert free == allocator.reserved
