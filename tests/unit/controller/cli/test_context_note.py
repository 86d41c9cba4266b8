"""A rate says which context it reads where a reproduction prints another one."""

from dataclasses import replace

import pytest

from controller.cli.context_note import context_note
from controller.experiment.run import run_experiment
from controller.experiment.run_spec import RunSpec

ASKED = RunSpec("instinfer", "opt-13b", batch=2, prompt_tokens=32, output_tokens=4)


def test_a_plain_run_says_that_the_reproduction_reads_less_and_how_to_get_it():
    experiment = run_experiment(ASKED)
    note = context_note(experiment)
    assert note.startswith("all of it is read, 34 tokens on average; `reproduce instinfer` has other rates")
    assert "reads 29% (its knob; here --effective-context 9.74)" in note
    assert experiment.to_json()["workload"]["mean_context"] == 34


def test_a_run_with_the_knob_says_so():
    note = context_note(run_experiment(replace(ASKED, effective_context=9.74)))
    assert note == "9.74 tokens are read on average, not all 34 (--effective-context)"


@pytest.mark.parametrize("asked", [replace(ASKED, model="opt-125m"), replace(ASKED, topology="a6000_2csd")])
def test_a_run_that_no_reproduction_has_says_nothing(asked):
    assert context_note(run_experiment(asked)) == ""
