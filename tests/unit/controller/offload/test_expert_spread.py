"""The busiest of many experts under a balanced router, against draws."""

import numpy as np
import pytest

from controller.offload.expert_spread import busiest_rows


@pytest.mark.parametrize(("tokens", "share", "slots"), [(2560, 8 / 288, 288), (15_360, 8 / 288, 288), (40, 0.25, 8)])
def test_it_is_what_draws_come_to(tokens, share, slots):
    drawn = np.random.default_rng(3).binomial(tokens, share, (2000, slots)).max(1).mean()
    assert busiest_rows(tokens, share, slots) == pytest.approx(drawn, rel=0.005)


def test_one_slot_has_the_mean_and_every_token_goes_to_a_sure_one():
    assert busiest_rows(1000, 0.3, 1) == pytest.approx(300, rel=1e-6)
    assert busiest_rows(17, 1.0, 9) == 17 and busiest_rows(0, 0.5, 4) == 0
