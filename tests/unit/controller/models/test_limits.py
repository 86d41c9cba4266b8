"""Long runs say how long they take before they start; what would not end is refused."""

from __future__ import annotations

import pytest

from controller.errors import BadWorkload
from controller.models.limits import MOST_STEPS, check_steps, steps_warning


def test_many_steps_say_how_long_they_take() -> None:
    assert steps_warning("training steps", 1_000_000) == (
        "1,000,000 training steps: at least 50 min at 3 ms each, more for a large model"
    )
    assert steps_warning("output tokens", 1000) == ""


def test_more_steps_than_can_be_emulated_are_refused() -> None:
    check_steps("steps", MOST_STEPS)
    with pytest.raises(BadWorkload, match=r"steps is 1000001; the limit is 1,000,000: .* takes 50 min"):
        check_steps("steps", MOST_STEPS + 1)
