"""FlexGen with SparQ: bytes of a step by hand, groups that go to the drive, and what it refuses."""

from __future__ import annotations

import pytest

from controller.errors import BadWorkload
from controller.experiment.run import run_experiment
from controller.experiment.run_spec import RunSpec

KV = 768 * 2
"""Bytes of the keys of one token of OPT-125M in one layer, in fp16."""
LAYERS, BATCH = 12, 4


def flash(prompt: int, output: int, **fields):
    request = RunSpec("flexgen_sparq", "opt-125m", batch=BATCH, prompt_tokens=prompt, output_tokens=output, **fields)
    return run_experiment(request).outcome.flash["ssd0.flash"]


def test_a_step_reads_channels_of_all_tokens_and_all_of_the_kept_ones() -> None:
    read = flash(64, 2).read_bytes
    assert read == LAYERS * BATCH * KV * (64 / 8 + 2 * 64 / 8)


def test_the_prompt_is_written_in_both_layouts_and_new_tokens_wait() -> None:
    assert flash(64, 2).written_bytes == 3 * LAYERS * BATCH * KV * 64
    assert flash(64, 257).written_bytes == 3 * LAYERS * BATCH * KV * 64
    assert flash(64, 258).written_bytes == 3 * LAYERS * BATCH * KV * (64 + 256)


def test_keeping_more_reads_more() -> None:
    assert flash(64, 2, options={"compression": "0.25"}).read_bytes == 2 * flash(64, 2).read_bytes


def test_a_live_run_is_refused_with_the_reason() -> None:
    request = RunSpec("flexgen_sparq", "tiny-opt", batch=1, prompt_tokens=4, output_tokens=2, live=True)
    with pytest.raises(BadWorkload, match="virtually only"):
        run_experiment(request)
