"""The declared oracle of experts: what it says, what it costs, and that values do not depend on it."""

import pytest

from controller.errors import BadWorkload
from controller.experiment.run import run_experiment
from controller.experiment.run_spec import RunSpec
from controller.models.catalog import load_model
from controller.models.routing import declared_loads, routing_note
from controller.strategies.table import STRATEGIES

MIXTRAL, OPT = load_model("tiny-mixtral"), load_model("tiny-opt")


def run(model="mixtral-8x7b", batch=64, prompt_tokens=128, **options):
    return run_experiment(
        RunSpec(
            "gpu_only", model, "dgx_h100", batch=batch, prompt_tokens=prompt_tokens, output_tokens=4, options=options
        )
    )


def test_loads_fall_by_rank():
    assert declared_loads(MIXTRAL, 0.0) == declared_loads(OPT, 1.0) == ()
    assert declared_loads(MIXTRAL, 1.0) == (1_000_000, 500_000, 333_333, 250_000)


def test_a_note_says_what_times_assume():
    assert routing_note(OPT, ()) == ""
    assert "balanced routing (2 of 4 experts a token, none dropped)" in routing_note(MIXTRAL, ())
    assert "the first expert gets 48 % of the rows" in routing_note(MIXTRAL, declared_loads(MIXTRAL, 1.0))


def test_routing_decides_the_time_and_is_named():
    even, skewed = run(), run(expert_skew="6")
    assert any("balanced routing" in note for note in even.outcome.notes)
    assert any("skewed routing" in note for note in skewed.outcome.notes)
    assert even.outcome.time_s != skewed.outcome.time_s
    with pytest.raises(BadWorkload, match="a number from 0 to 8"):
        run(expert_skew="-1")


def test_the_cache_of_latents_is_what_is_allocated():
    shape, tokens = load_model("deepseek-v2-lite"), 1024 + 4
    small, large = (
        sum(run(shape.name, batch=batch, prompt_tokens=1024).outcome.peak_bytes.values()) for batch in (16, 32)
    )
    # Activations of a decode step grow with the batch too.
    assert large - small == pytest.approx(16 * tokens * shape.kv_bytes_per_token(), rel=0.02)


@pytest.mark.parametrize("name", [name for name, entry in STRATEGIES.items() if "latents" not in entry.takes])
def test_who_does_not_take_latents_says_so(name):
    with pytest.raises(BadWorkload, match=f"tiny-deepseek has .*latent attention, which {name} does not take; run it"):
        run_experiment(RunSpec(name, "tiny-deepseek"))


def test_training_takes_no_experts():
    with pytest.raises(BadWorkload, match="tiny-mixtral has experts, which train_gpu_only does not take; run it with"):
        run_experiment(RunSpec("train_gpu_only", "tiny-mixtral"))
