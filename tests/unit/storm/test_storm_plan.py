"""The schedule and the counts of the fault campaign."""

from itertools import islice

import pytest

from controller.topology.loader import load_topology
from tests.support.storm import drives
from tests.support.storm.campaign import judge
from tests.support.storm.client import ACTS
from tests.support.storm.live_run import PACE, STEPS, TWO_CHASSIS, WORKS
from tests.support.storm.schedule import DRIVES, KINDS, OF_DRIVES, ON_RAY, OUTAGES, VICTIMS, WAYS, entry, schedule
from tests.support.storm.strikes import KINDS as STRIKES
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
        if one.kind == "kill_controller":
            assert one.victim == "controller"
        else:
            assert one.victim in (OUTAGES if one.work == "drives" else VICTIMS[one.work])


def test_an_entry_may_have_two_faults_and_counts_as_one_try():
    verdicts = [Verdict(0, "flood"), Verdict(1, "flood", frozenset({"hangs", "lost"}))]
    assert rows(verdicts) == [{"campaign": "flood", "tries": 2, "crashes": 0, "hangs": 1, "lost": 1, "wrong": 0}]
    assert table(verdicts).splitlines()[-1] == "| flood | 2 | 0 | 1 | 1 | 0 |"
    assert exit_code(verdicts) == 1
    assert exit_code(verdicts[:1]) == 0


def test_an_unknown_fault_is_refused():
    with pytest.raises(ValueError, match="slowness"):
        rows([Verdict(0, "flood", frozenset({"slowness"}))])


@pytest.mark.parametrize(
    ("work", "name", "overrides"), [("decode", "a6000_2csd", ()), ("train", "server_4090", ("ssd.count=2",))]
)
def test_victims_are_devices_of_what_runs(work, name, overrides):
    assert f"--topology {name}" in WORKS[work]
    assert f"{STEPS[work]} " in WORKS[work] + " "
    declared = load_topology(name, overrides)
    assert set(VICTIMS[work]) <= set(declared.devices)
    flash = {
        n for n, device in declared.devices.items() if any(t.storage == "flash" for t in device.spec.tiers.values())
    }
    assert set(DRIVES[work]) == flash


def test_only_drives_are_slowed_and_filled():
    drawn = [one for one in islice(schedule(6), 300) if one.kind in OF_DRIVES]
    assert drawn and all(one.victim in DRIVES[one.work] for one in drawn)


def test_what_can_strike_is_what_is_drawn():
    assert {*STRIKES, "power_cut"} == set(KINDS)
    assert set(ACTS) == {kind for kind, how in STRIKES.items() if how.strike is None}


def test_a_run_that_ends_is_judged_by_what_it_must_do():
    equal, other = {"tokens_equal": 4, "tokens_compared": 4}, {"tokens_equal": 3, "tokens_compared": 4}
    said = ["decode: 3/4", "windtunnel: csd1 killed by signal 9; start it again"]
    dies, survives, either = STRIKES["kill_node"], STRIKES["flood"], STRIKES["file_limit"]
    assert judge(dies, "csd1", 1, said, {})[0] == set()
    assert judge(dies, "csd0", 1, said, {})[0] == {"wrong"}
    assert judge(dies, "csd0", 0, said, other)[0] == {"wrong"}
    assert judge(survives, "csd1", 0, [], equal)[0] == set()
    assert judge(survives, "csd1", 0, [], other)[0] == {"wrong"}
    assert judge(survives, "csd1", 0, [], {})[0] == {"wrong"}
    assert judge(survives, "csd1", 1, said, {})[0] == {"crashes"}
    assert judge(either, "csd1", 1, said, {})[0] == set()
    assert judge(either, "csd1", 1, ["windtunnel: no"], {})[0] == {"wrong"}
    assert judge(dies, "csd1", 1, ["Traceback (most recent call last):", *said], {})[0] == {"crashes"}
    assert judge(dies, "csd1", -11, said, {})[0] == {"crashes"}


def test_drives_hold_what_was_acknowledged_or_the_next_and_the_same():
    assert drives.judge([5, 5], 5) == drives.judge([6, 6], 5) == set()
    assert drives.judge([4, 4], 5) == {"lost"}
    assert drives.judge([5, 6], 5) == drives.judge([7, 7], 5) == drives.judge([None, None], 5) == {"wrong"}
    assert drives.judge([4, 5], 5) == {"lost", "wrong"}


def test_what_was_not_struck_is_no_try():
    assert rows([Verdict(0, "flood", missed=True)])[0]["tries"] == 0


def test_runs_are_struck_in_every_way_and_on_ray_where_a_process_can_be():
    drawn = list(islice(schedule(8), 400))
    assert {one.way for one in drawn} == set(WAYS)
    assert {one.kind for one in drawn if one.way == "ray"} == set(ON_RAY)
    assert all(one.work == "decode" for one in drawn if one.way == "ray")
    assert {one.work for one in drawn if one.way == "pace"} == set(PACE)
    assert set(VICTIMS["decode"]) <= set(load_topology(TWO_CHASSIS).devices)
