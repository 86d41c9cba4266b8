"""Links that fail under live runs, and algorithms from files on real buffers."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from controller.collectives.call import Call
from controller.collectives.group import first_ranks, only
from controller.collectives.measure.calls import prepare, program_of
from controller.errors import BadTopology, LinkFailed
from controller.execute.live import run_live
from controller.faults.schedule import parse_fault
from controller.faults.timeline import with_faults
from controller.launch import launch
from controller.program.results import calls_of
from controller.topology.loader import load_topology

pytestmark = pytest.mark.live

FILES = Path(__file__).parents[1] / "fixtures" / "msccl"
DGX = load_topology("dgx_h100")


def with_options(*faults: str, **options: str):
    group = first_ranks(DGX, 4)
    declared = with_faults(replace(DGX, options={**DGX.options, **options}), map(parse_fault, faults))
    return group, only(declared, group)


def test_a_link_that_fails_without_another_path_ends_the_run_by_name_and_leaves_no_process():
    group, bare = with_options("gpu1.nvlink-nvswitch@1 us")
    entry = prepare(Call("all_reduce", group, 1 << 16), "ring")
    with pytest.raises(LinkFailed, match=r"gpu1\.nvlink-nvswitch failed at 1e-06 s"), launch(bare) as cluster:
        run_live(bare, [program_of([entry])], cluster)
    alive = [each for each in psutil.Process().children(recursive=True) if "node.server" in " ".join(each.cmdline())]
    assert alive == []


def test_a_link_that_comes_back_delays_the_clock_and_harms_no_value():
    times = []
    for faults in ((), ("gpu1.nvlink-nvswitch@1 us:1 ms",)):
        group, bare = with_options(*faults)
        entry = prepare(Call("all_reduce", group, 1 << 16), "ring")
        with launch(bare) as cluster:
            (call,) = calls_of(run_live(bare, [program_of([entry])], cluster).result)
        assert call.wrong == 0
        times.append(call.time_s)
    assert times[0] < 1e-3 < times[1]


@pytest.mark.parametrize(
    ("faults", "options"),
    [
        ((), {"routing": "spray"}),
        (("gpu1.nvlink-nvswitch@1 ms",), {}),
        (("gpu1.nvlink-nvswitch=0.5@1 ms",), {}),
    ],
)
def test_paced_nodes_know_neither_routing_nor_links_that_change(faults, options):
    group, bare = with_options(*faults, **options)
    entry = prepare(Call("all_reduce", group, 64), "ring")
    with pytest.raises(BadTopology, match="remove --pace"), launch(bare, pace=1000) as cluster:
        run_live(bare, [program_of([entry])], cluster)


def test_no_element_of_an_algorithm_from_a_file_is_wrong():
    group, bare = with_options()
    entries = [
        prepare(Call("all_reduce", group, 4 * 37, dtype, in_place), str(FILES / f"{name}.xml"))
        for name in ("ring_4", "allpairs_4")
        for dtype in ("fp32", "bf16", "int32")
        for in_place in (False, True)
    ]
    with launch(bare) as cluster:
        outcome = run_live(bare, [program_of(entries)], cluster)
    assert [call.wrong for call in calls_of(outcome.result)] == [0] * len(entries)
