"""The largest model that fits, against runs that say the same."""

import pytest

from controller.errors import UnknownModel
from controller.experiment.run import run_experiment
from controller.experiment.run_spec import RunSpec
from controller.reproduce.fuyou_models import BILLIONS, LADDER
from controller.reproduce.largest import largest_model, placed_bytes, shortage_of

SMALL = ("gpt2", "gpt2-xl", "gpt-6b")


def test_it_is_the_last_that_a_run_ends_well_with():
    request = RunSpec("train_gpu_only", "gpt2", overrides=("gpu.product=rtx_4090",), seq=1024)
    found = largest_model(request, SMALL)
    ended = [run_experiment(RunSpec("train_gpu_only", name, overrides=request.overrides, seq=1024)) for name in SMALL]
    well = [name for name, one in zip(SMALL, ended, strict=True) if one.outcome.ok]
    assert found == well[-1] and len(well) < len(SMALL)


def test_nothing_fits_into_nothing():
    request = RunSpec("zero_offload", "gpt2", overrides=("cpu.dram.capacity=1 GB",), seq=1024)
    assert largest_model(request, SMALL) is None
    assert shortage_of(request).startswith("OOM at cpu.dram")
    assert shortage_of(RunSpec("zero_offload", "gpt2", seq=1024)) == ""


def test_placed_bytes_are_those_of_a_run():
    request = RunSpec("fuyou", "gpt-6b", batch=4, seq=1024)
    peaks = run_experiment(request).outcome.peak_bytes
    assert placed_bytes(request, "dram") == peaks["cpu.dram"]
    assert placed_bytes(request, "flash") == sum(size for name, size in peaks.items() if name.endswith(".flash"))


def test_wrong_input_is_not_a_model_that_does_not_fit():
    with pytest.raises(UnknownModel):
        largest_model(RunSpec("fuyou", "gpt2"), ["gpt-5b"])


def test_the_ladder_ascends():
    assert list(BILLIONS) == sorted(BILLIONS) and len(BILLIONS) == len(LADDER)
