"""A ring of four ranks, whole timeline, derived by hand.

Four GPUs around a switch. A hop is two links of 1 us and 4 GB/s; memory reads and writes at 100 GB/s each; a reduction
takes 1 us to start, then reads two operands: 20 ps a byte. The host's launches cost nothing. The data is 16,000 bytes
of fp32 (4,000 elements), in place: four chunks of 4,000 bytes, c0 to c3.

A send takes 2 us + 4,000 B / 4 GB/s = 3 us; a reduction takes 1 us + 8,000 B / 100 GB/s = 1.08 us. All ranks do the
same thing at the same time, and no two of them share a link in one direction.

======  ===================================================================================================
at      what happens
======  ===================================================================================================
0       rank r sends chunk r - 1: rank 0 sends c3, rank 1 sends c0, rank 2 sends c1, rank 3 sends c2
3       each adds what came to its own: rank 1 adds c3, rank 2 c0, rank 3 c1, rank 0 c2
4.08    each sends on what it added
7.08    each adds: rank 2 adds c3, rank 3 c0, rank 0 c1, rank 1 c2
8.16    each sends on
11.16   each adds its own chunk, which is then whole: rank 0 c0, rank 1 c1, rank 2 c2, rank 3 c3
12.24   each sends its own chunk on
15.24   each sends on what came
18.24   each sends on what came, the last one it lacks itself
21.24   all have all
======  ===================================================================================================

End: 3 x (3 + 1.08) + 3 x 3 = 21.24 us.
"""

from __future__ import annotations

import pytest

from controller.collectives.call import Call
from controller.collectives.group import Group
from controller.collectives.measure.calls import buffers_of, measure, prepare
from controller.execute.virtual import VirtualRun
from controller.plan.ops import Kernel, Transfer
from controller.topology.schema import Device, Endpoint, Link, Topology
from node.hardware.device import ComputeSpec, DeviceSpec, PortSpec, QueueSpec, TierSpec

SPEC = DeviceSpec(
    "toy", "gpu", "for tests",
    {"hbm": TierSpec("hbm", "dram", 1 << 30, 100e9, 100e9)},
    {"vector": ComputeSpec("vector", {"fp32": 1e18})},
    {"nvlink": PortSpec("nvlink", 100e9, 100e9)},
    {"stream": QueueSpec("stream", "compute", 1, 1e-6)},
)  # fmt: skip
NAMES = ("gpu0", "gpu1", "gpu2", "gpu3")
BOX = Topology(
    "box", "test", {name: Device(name, "gpu", rank, "host0", SPEC) for rank, name in enumerate(NAMES)}, ("switch",),
    tuple(Link(name, Endpoint(name, "nvlink"), Endpoint("switch"), 4e9, 4e9, 1e-6) for name in NAMES),
    digest="0" * 64,
)  # fmt: skip

SENDS = {0.0: "3012", 4.08: "2301", 8.16: "1230", 12.24: "0123", 15.24: "3012", 18.24: "2301"}
"""Instant [us] to the chunk that rank 0, 1, 2, 3 sends."""

ADDS = {3.0: "2301", 7.08: "1230", 11.16: "0123"}
"""Instant [us] to the chunk that rank 0, 1, 2, 3 adds."""


def test_the_timeline():
    entry = prepare(Call("all_reduce", Group(NAMES, ("hbm",) * 4), 4000, in_place=True), "ring")
    assert measure(BOX, entry).ok
    assert entry.time_s == pytest.approx(21.24e-6, rel=1e-9)

    run = VirtualRun(BOX)
    for buffer in buffers_of(entry):
        run.place(buffer, written=buffer.name == "input")
    ticket = run.submit(entry.plan).number
    run.engine.run(tickets=(ticket,))
    starts, ends = run.engine.start_at(ticket), run.engine.end_at(ticket)
    assert len(starts) == len(entry.plan.ops) == 36
    expected = [
        (at, at + 3.0, "send", rank, int(chunk)) for at, chunks in SENDS.items() for rank, chunk in enumerate(chunks)
    ]
    expected += [
        (at, at + 1.08, "add", rank, int(chunk)) for at, chunks in ADDS.items() for rank, chunk in enumerate(chunks)
    ]
    found = []
    for start, end, op in zip(starts, ends, entry.plan.ops, strict=True):
        if isinstance(op, Transfer):
            view, what = op.sources[0], "send"
        else:
            assert isinstance(op, Kernel)
            view, what = op.inputs[1], "add"
        chunk = view.offset_bytes // 4000
        found.append((start * 1e6, end * 1e6, what, NAMES.index(view.buffer.device), chunk))
    for ours, by_hand in zip(sorted(found, key=_order), sorted(expected, key=_order), strict=True):
        assert ours[:2] == pytest.approx(by_hand[:2], rel=1e-9, abs=1e-9)
        assert ours[2:] == by_hand[2:]


def _order(row):
    return round(row[0], 6), row[2], row[3]
