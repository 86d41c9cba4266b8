"""Months of jobs: every tick is in one row, policies do what they say, and means are those of theory."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controller.faults.month.checkpoints import POLICIES, checkpoints_called
from controller.faults.month.recovery import RECOVERIES, recovery_called
from controller.faults.month.simulate import MonthJob, failures_of, simulate
from controller.faults.month.summary import summarise
from controller.faults.month.theory import daly_s, exact_optimum_s, renewal_ettr, young_s
from controller.faults.month.ticks import seconds, ticks
from controller.faults.rates.draw import DrawnFailure
from controller.faults.rates.failure_rates import FailureCause, FailureRates
from controller.faults.rates.published import RATES

HOUR_S = 3600.0
HOST = FailureCause("host", "host", 1e-3, strikes="host")
PLAIN = FailureRates("plain", (HOST,), 8, "made up", detect_s=60.0, diagnose_s=120.0, reinit_s=300.0)


def job_of(checkpoints="blocking", recovery="restart", rates=PLAIN, gpus=64, hours=10.0, interval_s=1000.0, **more):
    policy = checkpoints_called(checkpoints, interval_s, more.pop("write_s", None))
    values = {"spares": None, "detect_s": 60.0, "diagnose_s": 120.0, "reinit_s": 300.0, **more}
    return MonthJob(rates, gpus, hours * HOUR_S, policy, recovery_called(recovery), **values)


def ledger_of(job, *struck: float | tuple[float, int]):
    """Rows [s] when hosts fail at those instants."""
    at = [(each, 0) if isinstance(each, float) else each for each in struck]
    failures = [DrawnFailure(at_s, host, HOST, 1.0) for at_s, host in at]
    total, _ = simulate(job, 0, [failures])
    assert total.wall == ticks(job.for_s)
    return {row: seconds(value) for row, value in total.rows.items()}, total


def test_by_hand_a_failure_loses_what_came_after_the_checkpoint():
    """1000 s training, 30 s writing; at 2,500 s two checkpoints are whole (at 1,030 and 2,060 s) and 440 s are lost."""
    rows, total = ledger_of(job_of(), 2500.0)
    assert (rows["lost"], rows["detect"], rows["diagnose"], rows["reinit"]) == (440.0, 60.0, 120.0, 300.0)
    writes = 2 + ((36000 - 2980) // 1030)
    assert rows["stall"] == 30.0 * writes and rows["useful"] == 36000 - 920 - rows["stall"]
    assert total.failures == 1 and total.torn == 0


def test_a_torn_write_counts_for_nothing():
    rows, total = ledger_of(job_of(), 2050.0)
    assert rows["lost"] == 1000.0 and total.torn == 1


def test_a_checkpoint_beside_training_is_whole_later():
    """Asynchronous: 2 s of stall at 1,000 s, whole 60 s later."""
    early, _ = ledger_of(job_of("asynchronous"), 1050.0)
    late, _ = ledger_of(job_of("asynchronous"), 1070.0)
    assert early["lost"] == 1048.0 and late["lost"] == 68.0


def test_flash_of_a_lost_host_is_gone_and_the_remote_copy_counts():
    rows, total = ledger_of(job_of("local"), 9500.0)
    # Period 1,010 s: eight checkpoints went by, the eighth of which is remote, so 9 - 8 of them are lost.
    assert total.both_lost == 1 and rows["lost"] == pytest.approx(9000 - 8000 + 410.0)


def test_both_copies_lost_fall_back_to_remote_storage():
    alone, _ = ledger_of(job_of("peer"), 17500.0)
    together, total = ledger_of(job_of("peer"), (17500.0, 2), (17500.0, 3))
    assert total.both_lost == 1 and total.failures == 1
    assert together["lost"] > alone["lost"] + 900.0


def test_a_replica_loses_nothing_unless_its_twin_fails_too():
    alone, _ = ledger_of(job_of(recovery="replica"), (2500.0, 0))
    twins, _ = ledger_of(job_of(recovery="replica"), (2500.0, 0), (2500.0, 1))
    assert alone["lost"] == 0.0 and twins["lost"] == 440.0


def test_without_a_spare_the_job_waits_for_the_repair():
    spared, _ = ledger_of(job_of(recovery="spare", spares=1), 2500.0)
    without, _ = ledger_of(job_of(recovery="spare", spares=0), 2500.0)
    assert without["stall"] > spared["stall"] + 6900.0
    waits, _ = ledger_of(job_of(recovery="wait"), 2500.0)
    assert waits["stall"] > 6900.0


def test_a_job_that_shrinks_is_slower_until_the_host_is_back():
    rows, _ = ledger_of(job_of(recovery="shrink"), 2500.0)
    assert 0.11 < rows["slow"] / 7200.0 < 0.13  # one of eight hosts for two hours


def test_a_failure_during_recovery_begins_it_anew():
    once, _ = ledger_of(job_of(strikes_down=True), 2500.0, 2600.0)
    ignored, _ = ledger_of(job_of(), 2500.0, 2600.0)
    assert once["detect"] == 120.0 and once["diagnose"] == 160.0 and ignored["detect"] == 60.0


@settings(max_examples=25, deadline=None)
@given(
    st.sampled_from(sorted(RATES)), st.sampled_from(sorted(POLICIES)), st.sampled_from(sorted(RECOVERIES)),
    st.sampled_from((None, 0, 3)), st.booleans(), st.integers(0, 5),
)  # fmt: skip
def test_rows_sum_to_the_wall_time_exactly(rates, checkpoints, recovery, spares, strikes_down, seed):
    source = RATES[rates]
    job = MonthJob(source, 1024, 5 * 86400.0, checkpoints_called(checkpoints, 1234.5), recovery_called(recovery),
                   spares, source.detect_s, source.diagnose_s, source.reinit_s, strikes_down)  # fmt: skip
    total, _ = simulate(job, seed, failures_of(job, seed, 1))
    assert sum(total.rows.values()) == ticks(job.for_s) and min(total.rows.values()) >= 0
    assert sum(seconds(value) for value in total.rows.values()) == seconds(ticks(job.for_s)), "in floats, too"


@pytest.mark.parametrize(("interval_s", "write_s"), [(600.0, 30.0), (1800.0, 30.0), (3600.0, 0.0)])
def test_means_are_those_of_theory(interval_s, write_s):
    source = RATES["meta_llama3"]
    job = job_of(rates=source, gpus=16384, hours=720.0, interval_s=interval_s, write_s=write_s)
    found = summarise(job, seed=3, months=170, search=False)
    assert found.mttf_s == pytest.approx(job.mttf_s, rel=0.015)
    assert found.ettr == pytest.approx(found.theory["ettr"], rel=0.01)


def test_the_simulated_best_interval_is_near_the_exact_one():
    job = job_of(rates=RATES["meta_llama3"], gpus=16384, hours=720.0)
    best = summarise(job, seed=0, months=24).intervals_s
    assert best["simulated"] == pytest.approx(best["exact"], rel=0.15)


def test_formulas_against_each_other():
    for write_s, mttf_s in ((1.0, 1e5), (60.0, 1e4), (600.0, 7200.0)):
        best_s = exact_optimum_s(write_s, mttf_s)
        ettr = renewal_ettr(best_s, write_s, 100.0, mttf_s)
        assert all(ettr >= renewal_ettr(best_s * factor, write_s, 100.0, mttf_s) for factor in (0.9, 0.99, 1.01, 1.1))
        assert daly_s(write_s, mttf_s) == pytest.approx(best_s, rel=0.02)
    assert young_s(2.0, 100.0) == 20.0 and daly_s(300.0, 100.0) == 100.0


def test_the_same_seed_gives_the_same_months():
    job = replace(job_of(rates=RATES["stepfun"], gpus=3200), spares=2)
    assert summarise(job, 7, 3) == summarise(job, 7, 3)
    assert summarise(job, 7, 3).ledger != summarise(job, 8, 3).ledger
