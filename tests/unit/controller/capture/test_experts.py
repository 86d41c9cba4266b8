"""Tokens of experts by declared shares."""

import pytest

from controller.capture.inside.experts import counts_of


@pytest.mark.parametrize(
    ("declared", "tokens", "counts"),
    [("balanced", 8, [2, 2, 2, 2]), ("balanced", 10, [2, 3, 3, 2]), ("3,1,0,0", 100, [75, 25, 0, 0])],
)
def test_every_token_goes_to_one_expert(declared, tokens, counts):
    found = counts_of(declared, 4, tokens).tolist()
    assert sum(found) == tokens
    assert sorted(found) == sorted(counts)
    assert declared == "balanced" or found == counts


@pytest.mark.parametrize("declared", ["1,2", "1,-1,1,1", "0,0,0,0"])
def test_shares_that_do_not_fit_are_refused(declared):
    with pytest.raises(ValueError, match="the router counts 4 experts"):
        counts_of(declared, 4, 8)
