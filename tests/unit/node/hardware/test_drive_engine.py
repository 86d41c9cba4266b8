"""The engine in a drive against the table that it comes from and its limits."""

import dataclasses

import pytest

from node.hardware.drive_engine import instinfer_engine, stage_times_s

ONE = instinfer_engine(channels=1, gemv_units=1, softmax_units=1)


def test_one_unit_takes_what_the_table_says_for_sixteen_tokens_of_a_head():
    stages = stage_times_s(ONE, 16, 128)
    # The table counts one product, q by K; attention has a second one, by V.
    assert stages["gemv"] / 2 == pytest.approx(0.32e-6, rel=0.02)
    assert stages["softmax"] == pytest.approx(1.64e-6)
    assert 16 * 4096 / ONE.filter_bytes_per_s == pytest.approx(37e-6, rel=0.05)


def test_filters_keep_up_with_their_channels():
    stages = stage_times_s(instinfer_engine(), 4096, 128)
    assert stages["filter"] < stages["flash"]


def test_whole_pages_are_read():
    assert stage_times_s(ONE, 1, 128)["flash"] == stage_times_s(ONE, 16, 128)["flash"] == pytest.approx(8192 / 1.4e9)


def test_more_units_are_never_slower_and_flash_is_the_limit():
    times = []
    for units in (1, 8, 64, 4096):
        stages = stage_times_s(instinfer_engine(8, units, units), 4096, 128)
        times.append(max(stages.values()))
    assert times == sorted(times, reverse=True)
    assert times[-1] == stages["flash"] >= 2 * 4096 * 256 / 11.2e9


def test_reading_half_of_the_pages_halves_the_flash_and_keeping_an_eighth_the_rest():
    dense, sparse = stage_times_s(ONE, 4096, 128), stage_times_s(ONE, 4096, 128, page_share=0.5, kept_share=0.125)
    assert sparse["flash"] == pytest.approx(dense["flash"] / 2)
    assert sparse["gemv"] == pytest.approx(dense["gemv"] / 8)
    faster = dataclasses.replace(ONE, flash_bytes_per_s=2 * ONE.flash_bytes_per_s)
    assert stage_times_s(faster, 4096, 128)["flash"] == pytest.approx(dense["flash"] / 2)


def test_what_cannot_be_is_refused():
    with pytest.raises(ValueError, match="kept <= read"):
        stage_times_s(ONE, 16, 128, page_share=0.1, kept_share=0.5)
    with pytest.raises(ValueError, match="at least one"):
        instinfer_engine(gemv_units=0)
