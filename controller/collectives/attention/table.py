"""The table of schemes: adding one is one file and one line here."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping

from controller.collectives.attention.call import AttentionCall
from controller.collectives.attention.layouts import Layout
from controller.collectives.errors import UnknownAlgorithm
from controller.plan.ops import Plan
from controller.topology.nearest import hint

Scheme = Callable[[AttentionCall], Plan]

SCHEMES: Mapping[str, str] = {
    "ring": "controller.collectives.attention.ring:ring",
    "striped": "controller.collectives.attention.striped:striped",
    "zigzag": "controller.collectives.attention.zigzag:zigzag",
    "token_ring": "controller.collectives.attention.token_ring:token_ring",
}
"""Name to ``module:function``; the function is a `Scheme`, and ``LAYOUT`` of its module says which tokens lie where."""


def scheme(name: str) -> tuple[Scheme, Layout]:
    """The function behind an entry and its layout, imported now.

    Raises:
        UnknownAlgorithm: there is none; names the nearest one.
    """
    if name not in SCHEMES:
        raise UnknownAlgorithm(f"no scheme of attention {name!r}{hint(name, ('all', *SCHEMES), 'schemes')}")
    path, _, function = SCHEMES[name].partition(":")
    module = importlib.import_module(path)
    found: Scheme = getattr(module, function)
    layout: Layout = module.LAYOUT
    return found, layout
