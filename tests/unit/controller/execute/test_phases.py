"""A stopwatch of phases: what was begun twice adds up, and people hear of each."""

import pytest

from controller.execute import phases as module
from controller.execute.phases import Phases


@pytest.fixture
def clock(monkeypatch):
    """Instants that the stopwatch reads, one after the other."""

    def at(*instants):
        monkeypatch.setattr(module, "wall_clock_s", iter(instants).__next__)

    return at


def test_phases_follow_each_other_without_gaps(clock):
    clock(10.0, 10.0, 12.0, 15.0, 16.5)
    watch = Phases()
    watch.begin("load")
    watch.begin("run")
    watch.begin("load")
    watch.end()
    assert watch.wall_s == {"load": 3.5, "run": 3.0}


def test_time_before_the_first_phase_belongs_to_none(clock):
    clock(0.0, 5.0, 6.0)
    watch = Phases()
    watch.begin("load")
    watch.end()
    assert watch.wall_s == {"load": 1.0}


def test_people_hear_of_phases_that_have_words_for_them():
    heard = []
    watch = Phases(lambda done, total, what: heard.append((done, total, what)))
    watch.begin("start", "starting the nodes")
    watch.begin("run")
    watch.say("a step of it")
    watch.end()
    assert heard == [(0, 1, "starting the nodes"), (1, 1, "starting the nodes"), (0, 1, "a step of it")]
