"""Experts with a capacity: what a configuration says of it, what is dropped, and values as those of a plain run."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from controller.errors import BadWorkload, UnknownModel
from controller.experiment.result import Experiment
from controller.experiment.run import run_experiment
from controller.experiment.run_spec import RunSpec
from controller.models.capacity import with_capacity
from controller.models.catalog import load_model
from controller.models.plain import PlainDecoder
from controller.models.plain_experts import passes, without_overflow
from controller.models.routing import declared_loads, routing_note
from controller.models.weights import SeededWeights

MIXTRAL = load_model("tiny-mixtral")
MODELS = Path(__file__).parents[3] / "fixtures" / "models"


def run(model: str = "tiny-mixtral", **changes: object) -> Experiment:
    given = {"batch": 3, "prompt_tokens": 7, "output_tokens": 4, "local": True, **changes}
    return run_experiment(RunSpec("gpu_only", model, "a6000_ssd", **given))


@pytest.fixture
def read(tmp_path: Path):
    def made(name: str = "mixtral-8x7b", **changes: object):
        path = tmp_path / "made.json"
        path.write_text(json.dumps({**json.loads((MODELS / f"{name}.json").read_text()), **changes}, indent=1))
        return load_model(str(path))

    return made


def test_a_capacity_is_the_even_share_times_the_factor_rounded_up():
    def capacity(factor: float, tokens: int) -> int:
        return replace(MIXTRAL.experts, capacity_factor=factor).capacity(tokens)  # 2 of 4 experts

    assert [capacity(1.0, tokens) for tokens in (1, 2, 7, 8)] == [1, 1, 4, 4]
    assert capacity(1.25, 8) == 5
    assert capacity(1.1, 20) == 11  # 1.1 * 10 is 11.000000000000002
    assert capacity(0.1, 8) == 1
    assert capacity(100.0, 8) == 400
    assert capacity(0.0, 8) == 0


@pytest.mark.parametrize(
    "key", ["expert_capacity_factor", "moe_expert_capacity_factor", "capacity_factor", "moe_eval_capacity_factor"]
)
def test_a_configuration_says_it(read, key: str):
    shape = read(**{key: 1.5})
    assert shape.experts.capacity_factor == 1.5
    assert "capacity" in shape.parts and not shape.notes
    assert read(**{key: None}) == read() == read(**{key: 1.5}, drop_tokens=False)
    assert not read().experts.capacity_factor


@pytest.mark.parametrize("value", [0, -1.0, "much", True, float("nan"), 1e9])
def test_what_is_no_factor_is_refused_where_it_stands(read, value: object):
    with pytest.raises(UnknownModel, match=r"made.json:\d+: 'capacity_factor' is .*, expected a number above 0.*null"):
        read(capacity_factor=value)


def test_factors_that_contradict_each_other_are_refused(read):
    with pytest.raises(UnknownModel, match="'moe_capacity_factor' is 2 and 'capacity_factor' is 1, which contradict"):
        read(capacity_factor=1.0, moe_capacity_factor=2.0)
    assert read(capacity_factor=2, moe_capacity_factor=2.0).experts.capacity_factor == 2.0


@pytest.mark.parametrize("asked", ["0", "-1", "nan", "inf", "much", ""])
def test_an_option_that_is_no_factor_is_refused(asked: str):
    with pytest.raises(BadWorkload, match=f"--expert-capacity '{asked}': expected a number above 0.*write 1.25 for"):
        with_capacity(MIXTRAL, asked)


def test_an_option_goes_before_the_configuration():
    capped = with_capacity(MIXTRAL, "1.25")
    assert capped.experts.capacity_factor == 1.25
    assert with_capacity(capped, "none") == with_capacity(MIXTRAL, None) == MIXTRAL
    with pytest.raises(BadWorkload, match="tiny-opt has no experts; remove --expert-capacity"):
        with_capacity(load_model("tiny-opt"), "1.25")


def test_strategies_that_drop_nothing_say_so():
    with pytest.raises(
        BadWorkload, match=r"capacity of experts, which flexgen does not take; run it with gpu_only.*none"
    ):
        run_experiment(RunSpec("flexgen", "tiny-mixtral", expert_capacity="1.0"))


def test_the_first_tokens_of_a_pass_find_room():
    """Factor 1, three tokens of one row on 2 of 4 experts: two rows an expert; the third choice of expert 0 is out."""
    torch = pytest.importorskip("torch")
    experts = replace(MIXTRAL.experts, capacity_factor=1.0)
    weights = torch.tensor([[0.5, 0.5], [0.6, 0.4], [0.7, 0.3]])
    numbers = torch.tensor([[0, 1], [0, 2], [0, 3]])
    kept, _ = without_overflow(experts, (weights, numbers), [[0, 1, 2]])
    assert torch.equal(kept, torch.tensor([[0.5, 0.5], [0.6, 0.4], [0.0, 0.3]]))  # the rest is not renormalised
    alone, _ = without_overflow(experts, (weights, numbers), [[0], [1], [2]])
    assert torch.equal(alone, weights)


def test_prompts_share_a_pass_and_later_tokens_one_each():
    assert passes(3, 4, 2, 2) == [[0, 1, 4, 5], [8, 9], [2, 6, 10], [3, 7, 11]]
    assert passes(2, 2, 2, 2) == [[0, 1, 2, 3]]


@pytest.mark.parametrize(
    ("model", "factor"),
    [("tiny-mixtral", "0.5"), ("tiny-mixtral", "1.0"), ("tiny-deepseek", "0.8"), ("tiny-gpt-oss", "0.8")],
)
def test_values_are_those_of_the_plain_run(model: str, factor: str):
    """The plain run takes token by token, and counts what is left of each expert."""
    found = run(model, expert_capacity=factor)
    assert found.comparison["tokens_equal"] == found.comparison["tokens_compared"] == 12
    assert found.comparison["max_logit_difference"] < 1e-3
    dropped = found.outcome.result.dropped_choices
    assert dropped > 0
    assert found.to_json()["reports"]["dropped_choices"] == dropped
    assert any(f"{dropped} of " in note and "were dropped" in note for note in found.outcome.notes)


def test_what_is_dropped_changes_values_and_what_is_not_does_not():
    free, roomy, tight = (run(expert_capacity=factor) for factor in (None, "100", "0.5"))
    assert free.outcome.result.dropped_choices is None
    assert roomy.outcome.result.dropped_choices == 0
    for ours, theirs in zip(free.outcome.result.logits, roomy.outcome.result.logits, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert np.abs(free.outcome.result.logits[0] - tight.outcome.result.logits[0]).max() > 1e-2


def test_prompts_of_several_passes_compete_within_each(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("controller.offload.gpu_model.PREFILL_TOKENS", 14)
    found = run(batch=5, expert_capacity="0.8", overrides=("gpu.count=2",))
    assert found.comparison["tokens_equal"] == found.comparison["tokens_compared"]
    assert found.comparison["max_logit_difference"] < 1e-3


def test_the_count_is_that_of_the_plain_run(monkeypatch: pytest.MonkeyPatch):
    shape, counts = with_capacity(MIXTRAL, "0.8"), []

    def counted(experts, chosen, groups):
        made = without_overflow(experts, chosen, groups)
        counts.append(int((made[0] == 0).sum()))
        return made

    found = run(expert_capacity="0.8")
    monkeypatch.setattr("controller.models.plain.without_overflow", counted)
    prompt, rows = found.scenario.prompt_ids, np.array(found.comparison["tokens"])
    decoder = PlainDecoder(SeededWeights(shape, 0), prompt.shape[1], len(prompt))
    decoder.logits(np.concatenate([prompt, rows[:, :-1]], 1))
    assert len(counts) == shape.layers
    assert sum(counts) == found.outcome.result.dropped_choices


def test_rows_are_bounded_on_the_virtual_clock():
    """Skewed so that the first of 8 experts gets nearly all rows: with room for its even share it takes less time."""

    def timed(capacity: str | None, skew: str) -> float:
        return run(
            "mixtral-8x7b", batch=64, prompt_tokens=128, output_tokens=2, local=False, expert_capacity=capacity,
            overrides=("gpu.count=4",), options={"expert_skew": skew},
        ).outcome.phases["prefill"]  # fmt: skip

    assert timed("1.0", "0") == pytest.approx(timed(None, "0"), rel=1e-3)
    assert timed("1.0", "6") < 0.7 * timed(None, "6")
    assert timed("100", "6") == pytest.approx(timed(None, "6"), rel=1e-3)


def test_a_note_says_what_is_dropped_of_the_declared_rows():
    capped = with_capacity(MIXTRAL, "1.0")
    assert "at most 1 times its even share, 0 % of the rows are dropped" in routing_note(capped, ())
    # Loads of 48, 24, 16 and 12 %: 23 % are beyond a quarter.
    assert "23 % of the rows are dropped" in routing_note(capped, declared_loads(capped, 1.0))
