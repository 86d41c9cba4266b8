"""The table of fabrics: adding a kind is one file and one line here."""

from __future__ import annotations

import importlib
from collections.abc import Mapping

from controller.topology.generate.blocks import FabricBlock

KINDS: Mapping[str, str] = {
    "star": "controller.topology.generate.star:Star",
    "mesh": "controller.topology.generate.mesh:Mesh",
    "leaf_spine": "controller.topology.generate.leaf_spine:LeafSpine",
    "rail": "controller.topology.generate.rail:Rail",
    "fat_tree": "controller.topology.generate.fat_tree:FatTree",
    "dragonfly": "controller.topology.generate.dragonfly:Dragonfly",
    "torus": "controller.topology.generate.torus:Torus",
}
"""Kind to ``module:class``; the class is a `FabricBlock`."""


def block_of(kind: str) -> type[FabricBlock]:
    """The class of a kind that the table has, imported now."""
    module, _, name = KINDS[kind].partition(":")
    found: type[FabricBlock] = getattr(importlib.import_module(module), name)
    return found
