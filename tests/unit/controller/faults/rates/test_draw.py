"""Drawn failures have the rates, bursts, lemons and relapses that they are drawn from."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from controller.errors import BadTopology
from controller.faults.rates.draw import draw, repair_s
from controller.faults.rates.failure_rates import FailureCause, FailureRates, of_counts
from controller.faults.rates.published import RATES, UnknownRates, rates_called
from controller.faults.sources.drawn import drawn_faults
from controller.faults.timeline import Timeline
from controller.topology.loader import load_topology

YEAR_S = 365 * 86400.0
PLAIN = FailureRates("plain", (FailureCause("a", "host", 1e-3), FailureCause("b", "gpu", 1e-4)), 8, "made up")


def found(rates, hosts=100, for_s=YEAR_S, seed=1):
    return draw(rates, hosts, for_s, np.random.default_rng(seed))


def test_failures_come_at_their_rates():
    failures = found(PLAIN)
    assert len(failures) == pytest.approx(100 * 8760 * 1.8e-3, rel=0.06)
    assert Counter(each.cause.name for each in failures)["a"] == pytest.approx(len(failures) / 1.8, rel=0.06)
    gaps = np.diff([each.at_s for each in failures])
    assert gaps.std() / gaps.mean() == pytest.approx(1.0, abs=0.1)


@pytest.mark.parametrize(
    "more",
    [
        {"weibull_shape": 0.6},
        {"burst_share": 0.1, "burst_size": 3.0},
        {"useless_repairs": 0.3},
        {"lemon_share": 0.1, "lemon_factor": 8.0},
    ],
)
def test_the_mean_stays_whatever_the_pattern(more):
    assert len(found(replace(PLAIN, **more))) == pytest.approx(100 * 8760 * 1.8e-3, rel=0.15)


def test_clusters_bursts_lemons_and_relapses_are_there():
    gaps = np.diff([each.at_s for each in found(replace(PLAIN, weibull_shape=0.5))])
    assert gaps.std() / gaps.mean() > 1.5
    burst = [each for each in found(replace(PLAIN, burst_share=0.1, burst_size=3.0)) if each.in_burst]
    assert len(burst) > 100
    relapses = [each for each in found(replace(PLAIN, useless_repairs=0.3)) if each.relapse]
    assert len(relapses) > 100
    hosts = Counter(each.host for each in found(replace(PLAIN, lemon_share=0.1, lemon_factor=8.0)))
    assert sum(hosts[lemon] for lemon in range(10)) > 0.4 * sum(hosts.values())


def test_a_repair_has_the_median_and_mean_of_its_source():
    random = np.random.default_rng(2)
    lengths = [repair_s(RATES["stepfun"], random) for _ in range(20000)]
    assert np.median(lengths) == pytest.approx(0.85 * 86400, rel=0.1)
    assert np.mean(lengths) == pytest.approx(5.4 * 86400, rel=0.2)


def test_counts_of_llama3_sum_up():
    llama = RATES["meta_llama3"]
    assert sum(each.per_hour * 21.23e6 / (1 if each.per == "gpu" else 8) for each in llama.causes) == pytest.approx(419)
    assert of_counts({"a": 4}, "gpu", 2.0, "device")[0].per_hour == 2.0


def test_unknown_rates_are_refused():
    with pytest.raises(UnknownRates, match="did you mean 'meta_llama3'"):
        rates_called("meta_lama3")


@pytest.mark.parametrize("name", RATES)
def test_every_set_makes_a_timeline_of_a_topology(name):
    topology = load_topology("two_dgx_h100")
    quick = RATES[name]
    faults = drawn_faults(topology, quick, 5 * YEAR_S, 4)
    assert Timeline.of(topology, faults).faults == faults == drawn_faults(topology, quick, 5 * YEAR_S, 4)
    with pytest.raises(BadTopology, match="seed of 0 or more"):
        drawn_faults(topology, quick, YEAR_S, -1)
