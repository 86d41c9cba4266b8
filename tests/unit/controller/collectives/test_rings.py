"""One ring over one NIC of each host, and one over every NIC."""

import pytest

from controller.cli.main import main
from controller.collectives.call import Call
from controller.collectives.errors import BadCall
from controller.collectives.group import first_ranks, group_of
from controller.collectives.measure.calls import measure, prepare
from controller.plan.ops import Transfer
from controller.topology.loader import load_topology

TWO = load_topology("two_dgx_h100")
SIXTEEN = first_ranks(TWO, 16)
SIZE = 1 << 30


def _time(collective: str, name: str) -> float:
    entry = prepare(Call(collective, SIXTEEN, SIZE // 4, "fp32", in_place=True), name)
    measure(TWO, entry)
    assert entry.time_s is not None
    return entry.time_s


def test_rings_use_every_nic_and_ring_uses_one() -> None:
    """All-gather over 50 GB/s NICs: 15 of 16 chunks pass each host's way out, through one NIC or through eight."""
    one, every = _time("all_gather", "ring"), _time("all_gather", "rings")
    assert one == pytest.approx(15 / 16 * SIZE / 50e9, rel=0.02)
    assert every == pytest.approx(one / 8, rel=0.02)


@pytest.mark.parametrize("collective", ["all_reduce", "reduce_scatter", "all_gather"])
def test_messages_between_hosts_stay_on_a_rail(collective) -> None:
    plan = prepare(Call(collective, SIXTEEN, 1 << 10, "fp32", in_place=True), "rings").plan
    places = set()
    for op in plan.ops:
        if isinstance(op, Transfer):
            a, b = (SIXTEEN.devices.index(side[0].buffer.device) for side in (op.sources, op.destinations))
            if SIXTEEN.hosts[a] != SIXTEEN.hosts[b]:
                places.add((a % 8, b % 8))
    assert places == {(place, place) for place in range(8)}


def test_hosts_with_different_numbers_of_ranks_are_refused() -> None:
    group = group_of(TWO, [*SIXTEEN.devices[:3], SIXTEEN.devices[8]])
    with pytest.raises(BadCall, match="rings needs as many ranks in every host"):
        prepare(Call("all_reduce", group, 64), "rings")


def test_help_says_which_is_which(capsys) -> None:
    assert main(["collective", "--help"]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "ring is one ring over one NIC of each; rings is one for every rank of a host, over every NIC" in said
