"""The table of collectives: adding an algorithm is one file and one line here."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

from controller.collectives.errors import UnknownAlgorithm
from controller.collectives.exchange import Exchange
from controller.topology.nearest import hint

Algorithm = Callable[[Exchange], None]

COLLECTIVES: Mapping[str, Mapping[str, str]] = {
    "all_reduce": {
        "ring": "controller.collectives.all_reduce_ring:ring",
        "rings": "controller.collectives.all_reduce_rings:rings",
        "bidirectional_ring": "controller.collectives.all_reduce_bidirectional_ring:bidirectional_ring",
        "double_binary_tree": "controller.collectives.all_reduce_double_binary_tree:double_binary_tree",
        "tree": "controller.collectives.all_reduce_tree:tree",
        "halving_doubling": "controller.collectives.all_reduce_halving_doubling:halving_doubling",
        "hierarchical": "controller.collectives.all_reduce_hierarchical:hierarchical",
        "three_level": "controller.collectives.all_reduce_hierarchical:three_level",
        "direct": "controller.collectives.all_reduce_direct:direct",
        "star": "controller.collectives.all_reduce_star:star",
        "in_switch_two_shot": "controller.collectives.all_reduce_in_switch:two_shot",
        "in_switch_one_shot": "controller.collectives.all_reduce_in_switch:one_shot",
        "nvls": "controller.collectives.all_reduce_nvls:nvls",
        "nvls_tree": "controller.collectives.all_reduce_nvls_tree:nvls_tree",
    },
    "reduce_scatter": {
        "ring": "controller.collectives.reduce_scatter_ring:ring",
        "rings": "controller.collectives.reduce_scatter_rings:rings",
        "halving": "controller.collectives.reduce_scatter_halving:halving",
        "direct": "controller.collectives.reduce_scatter_direct:direct",
        "in_switch": "controller.collectives.reduce_scatter_in_switch:in_switch",
    },
    "all_gather": {
        "ring": "controller.collectives.all_gather_ring:ring",
        "rings": "controller.collectives.all_gather_rings:rings",
        "doubling": "controller.collectives.all_gather_doubling:doubling",
        "direct": "controller.collectives.all_gather_direct:direct",
        "in_switch": "controller.collectives.all_gather_in_switch:in_switch",
    },
    "broadcast": {
        "binomial": "controller.collectives.broadcast_binomial:binomial",
        "chain": "controller.collectives.broadcast_chain:chain",
    },
    "all_to_all": {
        "direct": "controller.collectives.all_to_all_direct:direct",
        "pairwise": "controller.collectives.all_to_all_pairwise:pairwise",
        "hierarchical": "controller.collectives.all_to_all_hierarchical:hierarchical",
    },
    "barrier": {"dissemination": "controller.collectives.barrier_dissemination:dissemination"},
}
"""Collective to algorithm to ``module:function``; the function is an `Algorithm`."""


@dataclass(frozen=True, slots=True)
class BusFactor:
    """What algbw is multiplied with to compare it with a link, as nccl-tests defines it: numerator / n."""

    numerator: Callable[[int], int]

    def of(self, world_size: int) -> float:
        """The factor for `world_size` ranks."""
        return self.numerator(world_size) / world_size


BUS_FACTORS: Mapping[str, BusFactor] = {
    "all_reduce": BusFactor(lambda n: 2 * (n - 1)),
    "reduce_scatter": BusFactor(lambda n: n - 1),
    "all_gather": BusFactor(lambda n: n - 1),
    "broadcast": BusFactor(lambda n: n),
    "all_to_all": BusFactor(lambda n: n - 1),
    "barrier": BusFactor(lambda n: 0),
}
"""Source: nccl-tests, doc/PERFORMANCE.md."""


def algorithms(collective: str) -> tuple[str, ...]:
    """Names of the algorithms of a collective.

    Raises:
        UnknownAlgorithm: no such collective; names the nearest one.
    """
    if collective not in COLLECTIVES:
        raise UnknownAlgorithm(f"no collective {collective!r}{hint(collective, COLLECTIVES, 'collectives')}")
    return tuple(COLLECTIVES[collective])


def is_file(name: str) -> bool:
    """Whether an algorithm's name is a file of MSCCL."""
    return name.endswith(".xml")


def algorithm(collective: str, name: str) -> Algorithm:
    """The function behind an entry, imported now; a name that ends in ``.xml`` is an MSCCL file.

    Raises:
        UnknownAlgorithm: no such collective or algorithm; names the nearest one.
    """
    known = algorithms(collective)
    if is_file(name):
        from controller.collectives.msccl.plan import from_file

        return partial(from_file, name)
    if name not in known:
        raise UnknownAlgorithm(f"{collective} has no algorithm {name!r}{hint(name, ('auto', *known), 'algorithms')}")
    module, _, function = COLLECTIVES[collective][name].partition(":")
    found: Algorithm = getattr(importlib.import_module(module), function)
    return found
