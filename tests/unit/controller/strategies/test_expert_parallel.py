"""Experts over devices, in one process: any placement and any kind of mixture gives the tokens of the plain run."""

import pytest

from controller.errors import BadWorkload


@pytest.mark.parametrize(
    ("model", "options"),
    [
        ("tiny-mixtral", {"devices": "4", "redundant": "4"}),
        ("tiny-mixtral", {"devices": "2", "placement": "3,1|0,2"}),
        ("tiny-gpt-oss", {"devices": "2", "placement": "5,4,3|2,1,0"}),
        ("tiny-deepseek", {"devices": "8", "messages": "int8"}),
        ("tiny-deepseek", {"devices": "4", "expert_skew": "2"}),
    ],
)
def test_tokens_are_those_of_the_plain_run(windtunnel_local, model, options):
    found = windtunnel_local(
        "expert_parallel", model, topology="dgx_h100", batch=8, prompt_tokens=5, output_tokens=4, options=options
    )
    if "messages" in options:
        assert found.comparison["values_equal"] and found.comparison["logit_error_tolerance"] < 0.13
    else:
        assert found.comparison["tokens_equal"] == found.comparison["tokens_compared"] == 32


def test_a_batch_that_does_not_divide_says_what_does(windtunnel_local):
    with pytest.raises(BadWorkload, match="a batch of 6 does not divide over 4 devices; write --batch 8"):
        windtunnel_local("expert_parallel", "tiny-deepseek", topology="dgx_h100", batch=6, options={"devices": "4"})
