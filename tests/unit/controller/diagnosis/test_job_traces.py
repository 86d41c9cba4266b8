"""On jobs as a shared cluster has them: change points alone blame too many, and windows miss too much."""

import pytest

from controller.diagnosis.job_traces import draw_jobs, error_rates


@pytest.fixture(scope="module")
def jobs():
    return draw_jobs(120, 7, 0.5)


def test_change_points_alone_blame_healthy_jobs(jobs) -> None:
    blamed, missed = error_rates(jobs, "change point")
    assert blamed > 0.10
    assert missed == 0.0


def test_verified_change_points_do_not(jobs) -> None:
    assert error_rates(jobs, "verified change point")[0] <= 0.01


def test_the_window_rule_misses_jobs(jobs) -> None:
    blamed, missed = error_rates(jobs, "window")
    assert blamed == 0.0
    assert missed > 0.10


def test_the_share_of_slow_jobs_is_that_of_the_cluster() -> None:
    assert sum(job.is_slow for job in draw_jobs(392, 7)) == 6
