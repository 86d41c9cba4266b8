"""Dies, channels and blocks against closed forms and limits."""

import dataclasses

import pytest

from node.hardware.flash import write_amplification
from node.hardware.flash_array import FlashArray

# 8 channels of 1.4 GB/s with 4 dies of 4 planes, 16 KiB pages, 768 pages a block.
ARRAY = FlashArray(8, 4, 4, 16384, 768, 45e-6, 600e-6, 3.5e-3, 1.4e9)


def test_reads_are_bound_by_the_buses_or_by_the_cells():
    assert ARRAY.read_bytes_per_s == 8 * 1.4e9
    slow = dataclasses.replace(ARRAY, read_s=450e-6)
    assert slow.read_bytes_per_s == pytest.approx(8 * 4 * 4 * 16384 / 450e-6)


def test_writes_pay_program_and_their_share_of_the_erase():
    assert ARRAY.write_bytes_per_s() == pytest.approx(8 * 4 * 4 * 16384 / (600e-6 + 3.5e-3 / 768))
    free = dataclasses.replace(ARRAY, erase_s=0.0)
    assert free.write_bytes_per_s() > ARRAY.write_bytes_per_s()


def test_smaller_blocks_pay_more_for_erases():
    rates = [dataclasses.replace(ARRAY, block_pages=pages).write_bytes_per_s() for pages in (16, 64, 256, 1024)]
    assert rates == sorted(rates)
    assert ARRAY.block_bytes == 768 * 16384


def test_overwrites_are_slower_than_appends_by_more_than_their_amplification():
    appended = ARRAY.write_bytes_per_s(write_amplification(0.07, appended=True))
    assert appended == ARRAY.write_bytes_per_s()
    overwritten = ARRAY.overwrite_bytes_per_s(0.07)
    assert appended / overwritten >= write_amplification(0.07)
    assert ARRAY.overwrite_bytes_per_s(0.28) > overwritten


def test_a_dead_block_costs_its_erase_and_a_live_one_its_copies():
    assert ARRAY.collect_s(0.0) == 3.5e-3
    assert ARRAY.collect_s(1.0) == pytest.approx(3.5e-3 + 768 * (645e-6 + 2 * 16384 / 1.4e9))
    with pytest.raises(ValueError, match="live share"):
        ARRAY.collect_s(1.5)


def test_more_of_anything_is_never_slower():
    for name in ("channels", "dies", "planes"):
        more = dataclasses.replace(ARRAY, **{name: 2 * getattr(ARRAY, name)})
        assert more.read_bytes_per_s >= ARRAY.read_bytes_per_s
        assert more.write_bytes_per_s() > ARRAY.write_bytes_per_s()
    with pytest.raises(ValueError, match="amplification"):
        ARRAY.write_bytes_per_s(0.5)
