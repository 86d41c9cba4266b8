"""The schedule and the counts of the fault campaign."""

from itertools import islice

import pytest

from tests.support.storm.schedule import KINDS, VICTIMS, entry, schedule
from tests.support.storm.tally import Verdict, exit_code, rows, table


def test_an_entry_drawn_alone_is_the_one_of_its_campaign():
    assert [entry(7, index) for index in range(40)] == list(islice(schedule(7), 40))


def test_seeds_differ():
    assert list(islice(schedule(1), 20)) != list(islice(schedule(2), 20))


def test_each_cycle_holds_every_kind_once():
    drawn = [one.kind for one in islice(schedule(3), 3 * len(KINDS))]
    for start in range(0, len(drawn), len(KINDS)):
        assert sorted(drawn[start : start + len(KINDS)]) == sorted(KINDS)


def test_victims_belong_to_their_work():
    for one in islice(schedule(5), 200):
        assert 0 < one.progress < 1
        assert one.victim == "controller" if one.kind == "kill_controller" else one.victim in VICTIMS[one.work]


def test_an_entry_may_have_two_faults_and_counts_as_one_try():
    verdicts = [Verdict(0, "flood"), Verdict(1, "flood", frozenset({"hangs", "lost"}))]
    assert rows(verdicts) == [{"campaign": "flood", "tries": 2, "crashes": 0, "hangs": 1, "lost": 1, "wrong": 0}]
    assert table(verdicts).splitlines()[-1] == "| flood | 2 | 0 | 1 | 1 | 0 |"
    assert exit_code(verdicts) == 1
    assert exit_code(verdicts[:1]) == 0


def test_an_unknown_fault_is_refused():
    with pytest.raises(ValueError, match="slowness"):
        rows([Verdict(0, "flood", frozenset({"slowness"}))])
