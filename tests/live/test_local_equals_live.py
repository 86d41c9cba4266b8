"""The local executor computes bit for bit what node processes compute, at the same virtual time."""

from dataclasses import replace

import numpy as np
import pytest

from controller.execute.local import one_thread
from controller.experiment.run import run_experiment
from controller.experiment.run_spec import RunSpec

pytestmark = pytest.mark.live


@pytest.mark.parametrize("strategy", ["instinfer", "train_gpu_only"])
def test_one_generation_and_one_training(strategy: str) -> None:
    asked = RunSpec(strategy, "tiny-opt", batch=2, prompt_tokens=9, output_tokens=20, seq=8, steps=2, local=True)
    with one_thread():
        local = run_experiment(asked)
    live = run_experiment(replace(asked, local=False, live=True))
    assert local.outcome.ok and live.outcome.ok
    assert local.outcome.time_s == live.outcome.time_s
    assert local.outcome.peak_bytes == live.outcome.peak_bytes
    ours, theirs = local.outcome.result, live.outcome.result
    if strategy == "instinfer":
        assert ours.tokens == theirs.tokens
        np.testing.assert_array_equal(np.asarray(ours.logits), np.asarray(theirs.logits))
    else:
        assert list(ours.losses) == list(theirs.losses)
        for name, values in ours.parameters.items():
            np.testing.assert_array_equal(values, theirs.parameters[name], err_msg=name)
