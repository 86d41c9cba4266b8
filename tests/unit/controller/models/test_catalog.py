"""Finding a model: by name, by path, or not at all."""

import json

import pytest

from controller.errors import UnknownModel
from controller.models.catalog import list_models, load_model


@pytest.mark.parametrize(
    ("wrong", "right"), [("opt-13B", "opt-13b"), ("llama2-13b", "llama-2-13b"), ("gemma3-270m", "gemma-3-270m")]
)
def test_a_name_that_is_nearly_right_gets_a_hint(wrong, right):
    with pytest.raises(UnknownModel, match=f"{wrong!r}; did you mean '{right}'"):
        load_model(wrong)


def test_a_name_far_from_all_gets_the_list():
    with pytest.raises(UnknownModel, match=r"named models are tiny-opt, opt-125m.*config.json"):
        load_model("zzzz")


def test_names_are_unique_and_load_themselves():
    names = [shape.name for shape in list_models()]
    assert len(set(names)) == len(names) > 20
    assert all(load_model(name).name == name for name in names)


def test_a_folder_stands_for_its_config(tmp_path):
    keys = {
        "model_type": "opt", "hidden_size": 8, "num_attention_heads": 2, "num_hidden_layers": 1, "ffn_dim": 16,
        "vocab_size": 10, "max_position_embeddings": 32,
    }  # fmt: skip
    (tmp_path / "config.json").write_text(json.dumps(keys))
    assert load_model(str(tmp_path)) == load_model(str(tmp_path / "config.json"))
    assert load_model(str(tmp_path)).name == tmp_path.name


def test_a_path_to_nothing_says_so(tmp_path):
    with pytest.raises(UnknownModel, match=r"absent.json: No such file"):
        load_model(str(tmp_path / "absent.json"))
    with pytest.raises(UnknownModel, match=r"config.json: No such file"):
        load_model(str(tmp_path))
