"""Models whose rotation was scaled for longer contexts run with values, which are those of plain torch."""

from __future__ import annotations

import json

import pytest

from controller.cli.main import main
from controller.experiment.run import run_experiment
from controller.experiment.run_spec import RunSpec

TINY = {
    "model_type": "llama", "vocab_size": 211, "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2,
    "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 512, "torch_dtype": "bfloat16",
}  # fmt: skip
SCALINGS = (
    {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
     "original_max_position_embeddings": 16},
    {"type": "yarn", "factor": 4.0, "original_max_position_embeddings": 16},
    {"type": "longrope", "factor": 4.0, "original_max_position_embeddings": 16,
     "short_factor": [1.0] * 8, "long_factor": [4.0] * 8},
)  # fmt: skip


@pytest.fixture
def model(tmp_path):
    def made(**changes):
        path = tmp_path / "made.json"
        path.write_text(json.dumps({**TINY, **changes}))
        return str(path)

    return made


@pytest.mark.parametrize("scaling", SCALINGS, ids=lambda each: each.get("rope_type", each.get("type")))
def test_tokens_are_those_of_the_plain_run_and_not_those_without_scaling(model, scaling):
    found = [
        run_experiment(RunSpec("gpu_only", model(rope_scaling=each), prompt_tokens=40, output_tokens=6, local=True))
        for each in (scaling, None)
    ]
    assert all(each.comparison["tokens_equal"] == each.comparison["tokens_compared"] for each in found)
    assert not found[0].shape.notes and found[0].shape.rope_scaling
    assert found[0].outcome.result.logits[0].tolist() != found[1].outcome.result.logits[0].tolist()


def test_a_number_that_nobody_reads_is_a_note_and_values_need_all_of_them(model, capsys):
    path = model(rope_scaling={**SCALINGS[0], "a_new_key": 2})
    assert main(["run", "gpu_only", "--model", path, "--output-tokens", "2"]) == 0
    assert "rope_scaling has 'a_new_key', which is not read" in capsys.readouterr().out
    path = model(rope_scaling={"rope_type": "llama3", "factor": 8.0})
    assert main(["run", "gpu_only", "--model", path, "--local"]) == 2
    assert "cannot run with values: rope_scaling of type llama3" in capsys.readouterr().err


def test_training_with_values_does_not_scale(model, capsys):
    assert main(["run", "train_gpu_only", "--model", model(rope_scaling=SCALINGS[0]), "--local", "--seq", "8"]) == 2
    assert "scaled for longer contexts" in capsys.readouterr().err
