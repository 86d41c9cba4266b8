"""The splitting theorem of Ethereal, for every r and s up to 64, and what follows for times on the virtual clock."""

from __future__ import annotations

import importlib.util
import sys
from collections import Counter
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controller.engine import Activities, Engine
from controller.fabric.loads import Fabric
from controller.fabric.routing.ethereal import split

_SPEC = importlib.util.spec_from_file_location("leaf_spine", Path(__file__).with_name("leaf_spine.py"))
_BESIDE = sys.modules["leaf_spine"] = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(_BESIDE)
leaf_spine, UPLINK = _BESIDE.leaf_spine, _BESIDE.UPLINK_BYTES_PER_S

MOST = 64
SIZE = 1e9


@pytest.mark.parametrize("uplinks", range(1, MOST + 1))
def test_every_uplink_carries_exactly_what_ideal_spraying_gives_it(uplinks):
    for flows in range(1, MOST + 1):
        shares = split(flows, uplinks)
        load = [Fraction(0)] * uplinks
        for parts in shares:
            assert sum(part for _, part in parts) == 1
            assert len({uplink for uplink, _ in parts}) == len(parts)
            for uplink, part in parts:
                load[uplink] += part
        assert load == [Fraction(flows, uplinks)] * uplinks
        whole = sum(len(parts) == 1 for parts in shares)
        assert whole >= flows // uplinks * uplinks, "what divides evenly is not cut"


def shares_of(fabric: Fabric, flows: int):
    return fabric.spread([(f"gpu0_{index:03}", f"gpu1_{index:03}", SIZE, 0) for index in range(flows)])


def completion_times(fabric: Fabric, flows: int) -> np.ndarray:
    """When each of `flows` equal flows from the first leaf to the second has ended [s]."""
    loads = [
        fabric.transfer_load(f"gpu0_{index:03}", "hbm", f"gpu1_{index:03}", "hbm", shares=shares)
        for index, shares in enumerate(shares_of(fabric, flows))
    ]
    engine = Engine()
    engine.add_resources(fabric.capacity)
    starts = np.zeros(flows + 1, np.int64)
    np.cumsum([len(load.resources) for load in loads], out=starts[1:])
    batch = Activities(
        np.full(flows, SIZE), np.zeros(flows), np.full(flows, np.inf), np.full(flows, -1, np.int32), starts,
        np.concatenate([load.resources for load in loads]), np.concatenate([load.weights for load in loads]),
        np.zeros(flows + 1, np.int64), np.zeros(0, np.int32),
    )  # fmt: skip
    ticket = engine.submit(batch)
    engine.run()
    return engine.end_at(ticket)


@pytest.mark.parametrize("spines", [1, 2, 3, 5, 8, 12, 16, 31, 48, 64])
def test_times_on_the_virtual_clock_equal_those_of_ideal_spraying(spines):
    ethereal, spray = (Fabric(leaf_spine(MOST, spines, routing=name)) for name in ("ethereal", "spray"))
    for flows in (1, 2, 3, 7, 16, 24, 33, 64):
        expected = flows * SIZE / spines / UPLINK
        assert completion_times(spray, flows) == pytest.approx(expected, rel=1e-9)
        assert completion_times(ethereal, flows) == pytest.approx(expected, rel=1e-9)


@settings(max_examples=40, deadline=None)
@given(st.integers(1, MOST), st.integers(2, 16), st.integers(0, 5))
def test_ecmp_is_slower_by_the_number_of_flows_that_meet_on_one_uplink(flows, spines, seed):
    fabric = Fabric(leaf_spine(MOST, spines, routing="ecmp", **{"routing.seed": str(seed)}))
    meet = Counter(shares[0][0] for shares in shares_of(fabric, flows) if shares is not None)
    worst = max(meet.values())
    times = completion_times(fabric, flows)
    assert times.max() == pytest.approx(worst * SIZE / UPLINK, rel=1e-9)
    assert times.max() >= flows * SIZE / spines / UPLINK * (1 - 1e-9)
