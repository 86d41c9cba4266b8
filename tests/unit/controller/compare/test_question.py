"""What a comparison asks."""

from __future__ import annotations

import pytest

from controller.compare.candidates import BadCandidate, Candidate, parse_candidate
from controller.compare.question import Axis, parse_axis, points
from controller.errors import UnknownStrategy
from controller.experiment.run_spec import RunSpec

BASE = RunSpec("gpu_only", "tiny-opt", batch=2, prompt_tokens=8, output_tokens=3)
BOTH = (Candidate("hbm", "gpu_only"), Candidate("drive", "instinfer", "a6000_2csd"))


def test_candidates_are_crossed_with_every_value() -> None:
    found = points(BASE, BOTH, (Axis("batch", ("1", "2")), Axis("csd.count", ("1", "4"))))
    assert [(point.candidate.name, dict(point.at)) for point in found[:3]] == [
        ("hbm", {"batch": "1", "csd.count": "1"}),
        ("drive", {"batch": "1", "csd.count": "1"}),
        ("hbm", {"batch": "1", "csd.count": "4"}),
    ]
    assert len(found) == 8
    assert found[-1].request.batch == 2
    assert found[-1].request.overrides == ("csd.count=4",)
    assert found[-1].request.topology == "a6000_2csd"


def test_an_option_reaches_only_the_strategies_that_have_it() -> None:
    hbm, drive = points(BASE, BOTH, (Axis("mini_batches", ("3",)),))
    assert (hbm.request.options, drive.request.options) == ({}, {"mini_batches": "3"})


def test_a_question_has_one_digest_and_another_question_another() -> None:
    (one, *_), (same, *_) = points(BASE, BOTH, ()), points(BASE, BOTH, ())
    other = points(BASE, BOTH, (Axis("batch", ("3",)),))[0]
    assert one.digest == same.digest
    assert one.digest != other.digest


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("gpu_only", Candidate("gpu_only", "gpu_only", None)),
        ("DRAM=dram_kv@offload_h100", Candidate("DRAM", "dram_kv", "offload_h100")),
        ("dram_kv@offload_h100", Candidate("dram_kv@offload_h100", "dram_kv", "offload_h100")),
    ],
)
def test_a_candidate_is_named_strategy_at_topology(text: str, expected: Candidate) -> None:
    assert parse_candidate(text) == expected


@pytest.mark.parametrize("text", ["=gpu_only", "x=", "gpu_only@", "@a6000_ssd"])
def test_a_candidate_with_an_empty_part_is_refused(text: str) -> None:
    with pytest.raises((BadCandidate, UnknownStrategy)):
        parse_candidate(text)


def test_keys_are_written_as_on_the_command_line() -> None:
    assert parse_axis("prompt-tokens=8, 16") == Axis("prompt_tokens", ("8", "16"))
    assert parse_axis("csd.flash.read=1 GB/s,2 GB/s").key == "csd.flash.read"


@pytest.mark.parametrize("text", ["batch", "=1,2", "batch=1,,2", "batch=", "batch=1,1"])
def test_a_sweep_that_cannot_be_meant_is_refused(text: str) -> None:
    with pytest.raises(BadCandidate):
        parse_axis(text)


@pytest.mark.parametrize(
    ("axes", "message"),
    [
        ((Axis("bach", ("1",)),), "did you mean 'batch'"),
        ((Axis("batch", ("many",)),), "not a whole number"),
        ((Axis("batch", ("1",)), Axis("batch", ("2",))), "twice"),
    ],
)
def test_a_key_that_nothing_takes_is_refused(axes: tuple[Axis, ...], message: str) -> None:
    with pytest.raises(BadCandidate, match=message):
        points(BASE, BOTH, axes)


def test_two_candidates_of_one_name_are_refused() -> None:
    with pytest.raises(BadCandidate, match="twice"):
        points(BASE, (BOTH[0], BOTH[0]), ())


def test_a_grid_without_end_is_refused_before_it_is_spelled_out() -> None:
    axes = tuple(Axis(f"csd.part{axis}", tuple(map(str, range(100)))) for axis in range(10))
    with pytest.raises(BadCandidate, match=f"is {2 * 100**10}; the limit is 10,000: .* years; sweep fewer"):
        points(BASE, BOTH, axes)


def test_the_largest_grid_is_taken() -> None:
    assert len(points(BASE, BOTH, (Axis("batch", tuple(map(str, range(1, 5001)))),))) == 10_000
