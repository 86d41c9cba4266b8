"""One meaning a word: no two classes have one name, wherever they are."""

import ast
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).parents[2]

KNOWN: dict[str, list[str]] = {}
"""Names that are still used twice. The list is exact: a name that is used once goes from here."""


def used_twice(texts: Mapping[str, str]) -> dict[str, list[str]]:
    """Names of more than one class, and the files that have them, given the text of each file."""
    found: dict[str, list[str]] = defaultdict(list)
    for path, text in sorted(texts.items()):
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.ClassDef):
                found[node.name].append(path)
    return {name: paths for name, paths in sorted(found.items()) if len(paths) > 1}


def sources() -> dict[str, str]:
    """The text of every file with classes that people read: no generated ones, no tests."""
    found: dict[str, str] = {}
    for folder in ("controller", "node", "scripts"):
        for path in (ROOT / folder).rglob("*"):
            name = path.relative_to(ROOT).as_posix()
            if not path.is_file() or name.startswith("node/rpc/"):
                continue
            if path.suffix == ".py" or (folder == "scripts" and "python" in path.read_text().partition("\n")[0]):
                found[name] = path.read_text()
    return found


def test_no_two_classes_have_one_name() -> None:
    texts = sources()
    assert {"controller/plan/ops.py", "node/server.py", "scripts/measure_gpu"} <= texts.keys()
    assert used_twice(texts) == KNOWN


def test_a_name_that_is_used_twice_is_found_wherever_it_is() -> None:
    assert used_twice({"a": "class One: ...", "b": "class Two: ..."}) == {}
    assert used_twice({"a": "class One: ...", "b": "def f():\n    class One: ..."}) == {"One": ["a", "b"]}
    assert used_twice({"a": "class One:\n    class One: ..."}) == {"One": ["a", "a"]}
