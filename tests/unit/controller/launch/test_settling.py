"""What becomes of a commit that was broken off: the newest state that all who took part hold."""

from itertools import product

import pytest

from controller.launch.settling import decide
from node.client import TierTransactions

PAIR = ("csd0", "csd1")


def tier(committed: str, prepared: str = "", participants: tuple[str, ...] = PAIR, name: str = "flash"):
    return TierTransactions(name, committed, prepared, participants if prepared else ())


PREPARED, UNTOUCHED, COMMITTED = tier("k", "k+1"), tier("k"), tier("k+1")


REACHABLE = [pair for pair in product([PREPARED, UNTOUCHED, COMMITTED], repeat=2) if {*pair} != {UNTOUCHED, COMMITTED}]
"""Nobody commits before all have prepared."""


@pytest.mark.parametrize("states", REACHABLE)
def test_all_drives_end_with_one_state(states):
    decided = decide({"csd0": (states[0],), "csd1": (states[1],)})
    after = {
        decided[device] or state.committed if device in decided else state.committed
        for device, state in zip(PAIR, states, strict=True)
    }
    expected = "k" if UNTOUCHED in states else "k+1"
    assert after == {expected}
    assert set(decided) == {device for device, state in zip(PAIR, states, strict=True) if state.prepared}


def test_a_drive_that_takes_no_part_has_no_say():
    assert decide({"csd0": (PREPARED,), "csd1": (PREPARED,), "csd2": (tier("elsewhere"),)}) == {
        "csd0": "k+1",
        "csd1": "k+1",
    }
    alone = tier("k", "own", ("csd2",))
    assert decide({"csd0": (UNTOUCHED,), "csd2": (alone,)}) == {"csd2": "own"}


def test_all_tiers_of_a_drive_count():
    assert decide({"csd0": (tier("k", "k+1"), tier("k", name="log")), "csd1": (PREPARED,)}) == {"csd0": "", "csd1": ""}


def test_without_one_of_them_what_was_only_prepared_is_forgotten():
    assert decide({"csd0": (PREPARED,)}) == {"csd0": ""}
    three = ("csd0", "csd1", "csd2")
    assert decide({"csd0": (tier("k", "k+1", three),), "csd1": (COMMITTED,)}) == {"csd0": "k+1"}
