"""Corrupt parts change one bit of what passes them on the local executor, and nothing else shows it."""

from __future__ import annotations

import numpy as np
import pytest

from controller.collectives.call import Call
from controller.collectives.group import first_ranks
from controller.collectives.measure.calls import prepare, program_of
from controller.execute.local import LocalRun
from controller.faults.timeline import with_faults
from controller.program.results import calls_of
from controller.topology.fault import Component, Fault
from controller.topology.loader import load_topology


def ran(*faults: Fault):
    topology = load_topology("dgx_h100")
    group = first_ranks(topology, 4)
    entry = prepare(Call("all_reduce", group, 4096, "int32"), "ring")
    run = LocalRun(with_faults(topology, faults))
    outcome = run.run([program_of([entry])])
    (call,) = calls_of(outcome.result)
    return run, outcome, call.wrong


def corrupt(kind: str, name: str, share: float = 1.0, at_s: float = 0.0) -> Fault:
    return Fault(Component(kind, name), "corrupt", share, at_s, None, text=f"{name} corrupt {share:g}")


@pytest.mark.parametrize(("kind", "name"), [("device", "gpu2"), ("tier", "gpu2.hbm"), ("link", "gpu2.nvlink-nvswitch")])
def test_what_passes_a_corrupt_part_is_changed(kind: str, name: str) -> None:
    run, outcome, wrong = ran(corrupt(kind, name))
    _, healthy, right = ran()
    assert right == 0 < wrong  # the twin has the values that were to come
    assert run.corruption.changed > 0
    assert outcome.time_s == healthy.time_s  # silent: no time tells
    assert any("changed in one bit" in note for note in outcome.notes)
    assert not any("changed in one bit" in note for note in healthy.notes)


def test_a_share_of_the_transfers_is_changed_and_always_the_same_ones() -> None:
    some, every = ran(corrupt("device", "gpu1", 0.3)), ran(corrupt("device", "gpu1"))
    assert 0 < some[0].corruption.changed < every[0].corruption.changed
    assert ran(corrupt("device", "gpu1", 0.3))[2] == some[2]


def test_parts_that_nothing_passes_and_later_faults_change_nothing() -> None:
    assert ran(corrupt("device", "gpu7"))[2] == 0
    assert ran(corrupt("device", "gpu2", at_s=5.0))[2] == 0


def test_exactly_one_bit_differs() -> None:
    from controller.execute.corruption import Corruption
    from controller.plan.ops import Buffer, Transfer

    topology = with_faults(load_topology("dgx_h100"), (corrupt("device", "gpu0"),))
    a, b = (Buffer(name, "hbm", "x", "uint8", (64,)) for name in ("gpu0", "gpu1"))
    corruption = Corruption(topology)
    corruption.at(0.0)
    moved = np.zeros(64, np.uint8)
    corruption.strike(Transfer((a.view(),), (b.view(),)), moved)
    assert np.unpackbits(moved).sum() == 1
