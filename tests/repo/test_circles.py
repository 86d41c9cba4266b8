"""No file imports itself round a circle, imports inside functions and for type checking counted."""

import ast
from collections.abc import Mapping
from pathlib import Path

import networkx as nx

ROOT = Path(__file__).parents[2]

KNOWN = []
"""Circles that are still there. The list is exact: a circle that is opened goes from here."""


DOOR = "controller.door.windtunnel"
"""The one package whose files import each other relatively: it has another name where it is installed."""


def imported(name: str, text: str, modules: frozenset[str]) -> set[str]:
    """Those of `modules` that the text of the module `name` imports, wherever it does."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.module, "an import names a module"
            inside = name == DOOR or name.startswith(f"{DOOR}.")
            assert node.level == int(inside and node.level > 0), "imports are absolute here"
            module = f"{DOOR}.{node.module}" if node.level else node.module
            submodules = {f"{module}.{alias.name}" for alias in node.names}
            found |= submodules & modules
            if not submodules <= modules:
                found.add(module)
    return found & modules


def circles(texts: Mapping[str, str]) -> list[list[str]]:
    """The circles among modules, given the text of each; the names of a circle are sorted, and so are the circles."""
    modules = frozenset(texts)
    graph = nx.DiGraph([(name, other) for name, text in texts.items() for other in imported(name, text, modules)])
    around = [part for part in nx.strongly_connected_components(graph) if len(part) > 1]
    on_itself = [{name} for name in nx.nodes_with_selfloops(graph)]
    return sorted(map(sorted, [*around, *on_itself]))


def texts_of(*folders: str) -> dict[str, str]:
    """The text of every module below `folders`, but for generated ones, by name."""
    found: dict[str, str] = {}
    for folder in folders:
        for path in sorted((ROOT / folder).rglob("*.py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            if parts[:2] != ("node", "rpc"):
                found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path.read_text()
    return found


def test_no_file_imports_itself_round_a_circle() -> None:
    texts = texts_of("controller", "node", "scripts", "tests/support")
    assert {"controller.engine", "controller.engine.loop", "node.server", "tests.support.digests"} <= texts.keys()
    assert circles(texts) == KNOWN


def test_a_circle_is_found_however_it_is_closed() -> None:
    straight = {"p": "import numpy", "p.a": "from p import b, c", "p.b": "from p.c import thing", "p.c": ""}
    assert circles(straight) == []
    assert circles(straight | {"p.c": "def late():\n    from p.a import it"}) == [["p.a", "p.b", "p.c"]]
    for_types = "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import p.b"
    assert circles(straight | {"p.c": for_types}) == [["p.b", "p.c"]]
    assert circles(straight | {"p": "from p.b import it", "p.c": "from p import it"}) == [["p", "p.b", "p.c"]]
    assert circles(straight | {"p.c": "import p.c"}) == [["p.c"]]
