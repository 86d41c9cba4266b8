"""SparF as a strategy: pages by compression, both layouts written, values without processes, and what it refuses."""

from __future__ import annotations

import pytest

from controller.errors import BadWorkload
from controller.experiment.run import run_experiment
from controller.experiment.run_spec import RunSpec
from controller.offload.sparf import LAYOUTS, STATED_PAGE_RATIO, page_share
from controller.strategies.instinfer import instinfer

BASE = {"batch": 16, "prompt_tokens": 64, "output_tokens": 33}


def test_pages_are_the_stated_half_at_an_eighth_and_everything_at_one() -> None:
    assert LAYOUTS * page_share(0.125) == pytest.approx(STATED_PAGE_RATIO)
    assert page_share(1.0) == 1.0
    shares = [page_share(c) for c in (0.01, 0.0625, 0.125, 0.25, 0.5, 1.0)]
    assert shares == sorted(shares)
    # Fewer pages than tokens chosen independently would touch, and no fewer than tokens chosen all together.
    assert 0.125 < page_share(0.125) < 1 - (7 / 8) ** 16


@pytest.mark.parametrize("compression", ["1", "0.5"])
def test_with_enough_kept_the_tokens_are_those_of_dense_attention(local, compression: str) -> None:
    """At 1 it is dense attention; many drives, mini-batches and orders change nothing."""
    size = {"batch": 3, "prompt": 9, "output": 36}
    for drives in (1, 2):
        options = {"compression": compression, "mini_batches": "2", "recent": "8"}
        run = local.generate(
            instinfer, "tiny-opt", "a6000_csd", f"csd.count={drives}", options=options, backwards=True, **size
        )
        if compression == "1":
            local.check(run, "tiny-opt", **size)
        else:
            assert len(run.result.tokens) == 36


def test_k_is_written_twice_and_fewer_pages_are_read() -> None:
    dense = run_experiment(RunSpec("instinfer", "opt-125m", **BASE)).outcome
    sparse = run_experiment(RunSpec("instinfer", "opt-125m", options={"compression": "0.125"}, **BASE)).outcome
    assert sparse.flash["csd0.flash"].written_bytes == pytest.approx(1.5 * dense.flash["csd0.flash"].written_bytes)
    ratio = sparse.flash["csd0.flash"].read_bytes / dense.flash["csd0.flash"].read_bytes
    # Dense attention also reads what is left of the last page of each sequence and head.
    assert 0.85 * STATED_PAGE_RATIO < ratio <= STATED_PAGE_RATIO
    assert sparse.time_s < dense.time_s


def test_the_pages_may_be_declared() -> None:
    def read(ratio: str) -> float:
        options = {"compression": "0.125", "page_ratio": ratio}
        outcome = run_experiment(RunSpec("instinfer", "opt-125m", options=options, **BASE)).outcome
        return outcome.flash["csd0.flash"].read_bytes

    assert read("0.9") == pytest.approx(2 * read("0.45"), rel=0.01)


@pytest.mark.parametrize(
    ("model", "options", "message"),
    [
        ("opt-125m", {"compression": "0"}, "a share of more than 0"),
        ("opt-125m", {"compression": "2"}, "at most 1"),
        ("opt-125m", {"compression": "some"}, "for example 0.125"),
        ("opt-125m", {"compression": "0.5", "page_ratio": "1.6"}, "at most 1.5"),
        ("opt-125m", {"compression": "0.5", "recent": "-1"}, "whole number"),
        ("opt-125m", {"recent": "4"}, "option recent is of sparse attention.*add --compression"),
        ("opt-125m", {"page_ratio": "1"}, "option page_ratio is of sparse attention.*add --compression"),
        ("mistral-7b", {"compression": "0.5"}, "window"),
    ],
)
def test_what_cannot_be_is_refused(model: str, options: dict[str, str], message: str) -> None:
    size = {"batch": 1, "prompt_tokens": 4096 if model == "mistral-7b" else 4, "output_tokens": 4}
    with pytest.raises(BadWorkload, match=message):
        run_experiment(RunSpec("instinfer", model, options=options, **size))


def test_tokens_spread_over_drives_are_refused() -> None:
    request = RunSpec(
        "instinfer", "llama3-8b", overrides=("csd.count=9",), options={"compression": "0.5"}, prompt_tokens=16,
        output_tokens=4,
    )  # fmt: skip
    with pytest.raises(BadWorkload, match="9 drives"):
        run_experiment(request)
