"""Faults are found, blamed on the right component and on nobody else; the same seed, the same rows."""

import pytest

from controller.diagnosis.campaign import Campaign, CampaignSpec
from controller.diagnosis.entries import CampaignEntry, Injected, draw_entries
from controller.diagnosis.errors import BadCampaign, UnknownDetector
from controller.diagnosis.parallel import run_on_cores
from controller.topology.loader import load_topology
from tests.support.small_jobs import campaign

WORKLOADS = ("ring", "tree", "all_to_all", "tp4.pp2.dp2")


def judged(workload, *faults, steps=100, onset=45):
    job = campaign(workload)
    run = job.run_entry(CampaignEntry(3, faults, onset, steps))
    return run, job.score(run)["default"]


@pytest.mark.parametrize("workload", WORKLOADS)
@pytest.mark.parametrize("kind", ["hang", "kill", "freeze"])
def test_who_stops_is_named_and_nobody_else(workload, kind) -> None:
    run, score = judged(workload, Injected(kind, "gpu9", 1.0))
    assert (score.right, score.victims) == (1, 0), run.watched["default"].said
    assert score.found[0] is not None
    assert score.found[0] < (70.0 if kind == "hang" else 8.0)


@pytest.mark.parametrize("workload", WORKLOADS)
def test_a_dead_link_is_named_by_what_goes_over_it(workload) -> None:
    run, score = judged(workload, Injected("dead_link", "gpu3.nvlink-nvswitch_h0", 1.0))
    assert score.victims == 0, run.watched["default"].said
    assert score.right >= 1


@pytest.mark.parametrize("workload", WORKLOADS)
@pytest.mark.parametrize(("severity", "steps"), [(2.0, 20), (1.4, 100)])
def test_a_slow_device_is_named(workload, severity, steps) -> None:
    run, score = judged(workload, Injected("slow", "gpu5", severity), steps=steps)
    assert (score.right, score.victims) == (1, 0), run.watched["default"].said


@pytest.mark.parametrize("workload", WORKLOADS)
def test_a_slow_link_is_named_by_what_goes_over_it(workload) -> None:
    run, score = judged(workload, Injected("bandwidth", "gpu3.nvlink-nvswitch_h0", 2.0), steps=30)
    assert score.victims == 0, run.watched["default"].said
    assert score.right >= 1


@pytest.mark.parametrize(("shape", "ranks"), [("tp8.pp1.dp1", 8), ("tp1.pp4.dp1", 4), ("tp1.pp1.dp8", 8)])
@pytest.mark.parametrize("kind", ["hang", "slow"])
def test_jobs_of_one_kind_of_group_are_judged_as_well(shape, ranks, kind) -> None:
    job = campaign(shape, ranks)
    run = job.run_entry(CampaignEntry(3, (Injected(kind, "gpu1", 3.0),), 45, 40))
    score = job.score(run)["default"]
    assert (score.right, score.victims) == (1, 0), run.watched["default"].said


def test_two_at_once_are_both_named() -> None:
    run, score = judged("ring", Injected("slow", "gpu2", 2.0), Injected("slow", "gpu11", 1.7), steps=24)
    assert None not in score.found
    assert score.victims == 0, run.watched["default"].said


def test_what_leaves_no_trace_is_unobservable_and_has_no_score() -> None:
    # Ranks inside of a host do not use their NICs in a ring, and wrong values take no time.
    for fault in (Injected("bandwidth", "gpu3.pcie-leaf0", 4.0), Injected("corrupt", "gpu3", 1.0)):
        run, score = judged("ring", fault, steps=20)
        assert not run.is_observable
        assert score is None


def test_the_same_seed_gives_the_same_rows_and_another_one_others() -> None:
    topology = load_topology("h100_leaf_spine", (), ())
    spec = CampaignSpec(topology, 8, "ring", 7, 6, healthy_hours=0.02)
    first, second = run_on_cores(spec, 1), run_on_cores(spec, 1)
    assert first == second
    assert first.replay_error[1] < 0.01
    assert all(row.n + row.unobservable > 0 for row in first.rows)
    devices = tuple(f"gpu{number}" for number in range(8))
    assert draw_entries(6, 7, devices, ("up",)) != draw_entries(6, 8, devices, ("up",))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"ranks": 1}, "--ranks is 1; write a number from 2"),
        ({"workload": "rings"}, "no workload 'rings'.*ring"),
        ({"workload": "tp8.pp4.dp8"}, "a job of 256 ranks, and 16 take part; write --ranks 256"),
        ({"faults": -1}, "--faults is -1"),
    ],
)
def test_what_does_not_fit_together_is_refused(changes, message) -> None:
    asked = {"ranks": 16, "workload": "ring", "seed": 7, "faults": 1} | changes
    with pytest.raises(BadCampaign, match=message):
        Campaign(CampaignSpec(load_topology("h100_leaf_spine", (), ()), **asked))


def test_an_unknown_detector_is_refused() -> None:
    with pytest.raises(UnknownDetector, match=r"no detector 'c4'.*c4d"):
        Campaign(CampaignSpec(load_topology("h100_leaf_spine", (), ()), 8, "ring", 7, 0, detectors=("c4",)))


def test_an_hour_without_faults_raises_no_alarm() -> None:
    quiet = campaign("ring").quiet(1.0)["default"]
    assert quiet.alarms == 0
    low, high = quiet.bounds_per_hour
    assert low == 0.0
    assert high == pytest.approx(3.689, rel=0.01)  # -ln(0.025) an hour


@pytest.mark.slow
@pytest.mark.parametrize("workload", WORKLOADS)
@pytest.mark.timeout(1200)
def test_a_hundred_hours_without_faults_raise_at_most_a_tenth_an_hour(workload) -> None:
    assert campaign(workload).quiet(100.0)["default"].per_hour <= 0.1
