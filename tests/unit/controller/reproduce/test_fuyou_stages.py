"""What a stage does when it is executed alone is what it does within the step, and its parts add up."""

import pytest

from controller.reproduce import fuyou_stages
from controller.reproduce.fuyou_models import request
from controller.reproduce.fuyou_stages import EVERYTHING, price_rows, stage_outcome, stage_rows
from controller.reproduce.runner import run_request

ROWS = {(row.row["system"], row.row["stage"], row.quantity): row for row in stage_rows()}


def ours(*names: str) -> float:
    value = ROWS[names].ours({})
    assert not isinstance(value, str)
    return value


@pytest.mark.parametrize(("system", "stages"), [("fuyou", 2), ("zero_infinity", 3)])
def test_stages_alone_take_what_they_take_in_a_step(system: str, stages: int) -> None:
    step = run_request(request(system, "gpt-13b", 32))
    alone = {stage: stage_outcome(system, stage).time_s for stage in step.phases}
    assert len(alone) == stages
    assert alone == pytest.approx(dict(step.phases), rel=1e-3)


def test_kernels_copies_and_drives_of_zero_infinity_take_turns() -> None:
    parts = [ours("zero_infinity", "backward", quantity) for quantity in ("kernels", "copies", "drives")]
    assert 0.95 < sum(parts) / stage_outcome("zero_infinity", "backward").time_s <= 1.05
    assert ROWS["zero_infinity", "optimizer", "gpu_link"].ours({}) == "idle"


def test_published_times_that_follow_from_rates_alone_are_met() -> None:
    published = {
        ("zero_infinity", "forward", "swapping"): 0.6, ("zero_infinity", "backward", "copies"): 3.18,
        ("g10_simulated", "forward", "swapping"): 10.0, ("g10_simulated", "forward", "kernels"): 5.96,
    }  # fmt: skip
    assert {names: ours(*names) for names in published} == pytest.approx(published, rel=0.10)


def test_swapping_everything_leaves_nothing_to_recompute() -> None:
    again = [times.label for times in stage_outcome(EVERYTHING, "backward").op_times if "again" in times.label]
    recomputed = [times.label for times in stage_outcome("fuyou", "backward").op_times if "again" in times.label]
    # Of the last block, whose activations stay on the GPU, as of all others: the products are not made a second time.
    assert not any("ffn" in label or "qkv" in label for label in again) and any("ffn" in label for label in recomputed)


def test_a_server_costs_the_sum_of_its_published_parts() -> None:
    rows = {row.row["product"]: row for row in price_rows()}
    assert rows["whole_server"].ours({}) == rows["whole_server"].published == 14_098 + 1_600 + 12 * 308
    assert {row.ours({}) for name, row in rows.items() if name in fuyou_stages.PRICES} == set(
        fuyou_stages.PRICES.values()
    )
