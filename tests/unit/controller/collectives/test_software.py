"""What calls of a library cost inside of a plan, by hand."""

from dataclasses import replace

import pytest

from controller.collectives.exchange import PLAIN, Software
from controller.collectives.software import Library, all_reduced_bytes, fastest, software_of


def test_a_call_starts_and_pays_the_software_share_of_every_hop(box) -> None:
    """A hop of the box is 2 us of wire; the protocol's is 5 us."""
    declared = {"collective.ll.base": "4 us", "collective.ll.hop": "5 us", "collective.ll.rate": "3 GB/s"}
    topology = replace(box(4), options=declared)
    (found,) = software_of(topology, ("gpu0", "gpu1"), hops=2)
    assert (found.name, found.bytes_per_s) == ("ll", 3e9)
    assert found.start_s == pytest.approx(4e-6 + 2 * 3e-6)


def test_one_rank_or_no_protocol_costs_nothing(box) -> None:
    assert software_of(box(4), ("gpu0", "gpu1"), hops=2) == (PLAIN,)
    assert software_of(box(4), ("gpu0",), hops=2) == (PLAIN,)


def test_a_protocol_that_algorithms_have_for_themselves_is_not_among_them(box) -> None:
    declared = {"collective.nvls.base": "4 us", "collective.nvls.hop": "5 us", "collective.nvls.rate": "3 GB/s"}
    topology = replace(box(4), options={**declared, "collective.nvls.for": "nvls"})
    assert software_of(topology, ("gpu0", "gpu1"), hops=2) == (PLAIN,)


def test_the_fastest_depends_on_what_a_rank_sends() -> None:
    quick, wide = Software("quick", 1e-6, 1e9), Software("wide", 9e-6, 100e9)
    assert fastest((quick, wide), 1e3) is quick
    assert fastest((quick, wide), 1e6) is wide
    assert all_reduced_bytes(8.0, 4) == 12.0


def test_a_library_chooses_by_what_a_call_of_its_ring_sends(box) -> None:
    """Four ranks are three hops of 3 us beyond the wire apart; an all-reduce goes round twice and sends 6/4."""
    declared = {"collective.ll.base": "4 us", "collective.ll.hop": "5 us", "collective.ll.rate": "1 GB/s"}
    declared |= {"collective.simple.base": "9 us", "collective.simple.hop": "5 us", "collective.simple.rate": "4 GB/s"}
    library = Library(replace(box(4), options=declared), ("gpu0", "gpu1", "gpu2", "gpu3"))
    few, many = library.call("all_gather", 1e3), library.call("all_gather", 1e6)
    assert (few.name, many.name) == ("ll", "simple")
    assert few.start_s == pytest.approx(4e-6 + 3 * 3e-6)
    assert library.call("all_reduce", 1e3).start_s == pytest.approx(4e-6 + 6 * 3e-6)
    # 5 us of start buy 3.75 ns a KB that is sent: all-reduces pass that at half the size.
    assert library.call("reduce_scatter", 6e3).name == "ll"
    assert library.call("all_reduce", 6e3).name == "simple"
    assert Library(box(4), ("gpu0", "gpu1")).call("all_reduce", 1e6) == PLAIN
