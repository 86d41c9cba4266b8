"""A YAML file that remembers on which line everything stands."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from controller.errors import BadTopology
from controller.topology.line_entries import Lines, read_entries

MAX_DEPTH = 16
"""Deepest nesting [levels]; a topology needs seven, an alias that holds itself has no end."""

MAX_ENTRIES = 200_000
"""Most entries of a short file with every alias written out; a longer one may have as many as bytes, which it has not
without aliases."""
MAX_INTEGER = 2**63

Place = Sequence[str | int]
"""Keys and indices from the top of the file to an entry."""


class Document:
    """A parsed file: plain data, and the place of every entry.

    Attributes:
        path: the file, as errors print it.
        data: plain dicts, lists and scalars.
    """

    def __init__(self, path: Path, kind: str = "a topology is a mapping with the keys name and hosts") -> None:
        """Reads and parses `path`.

        Args:
            path: the file.
            kind: what such a file is, for the error about one that is no mapping.

        Raises:
            BadTopology: it cannot be read, is no YAML, repeats a key or is no mapping.
        """
        self.path, self._kind = path, kind
        self._entry_count = 0
        self._most_entries = MAX_ENTRIES
        self._lines: Lines = {}
        self._tree: Any = None
        text = self._text()
        large = read_entries(text)
        if large is not None:
            self.data: dict[str, Any] = large[0]
            self._lines = large[1]
        else:
            self._tree = self._read(text)
            self.data = self._plain(self._tree, 0)

    def where(self, place: Place = ()) -> str:
        """``file:line`` of the entry at `place`, or of the innermost entry around it that exists."""
        return f"{self.path}:{self.line(place)}"

    def line(self, place: Place = ()) -> int:
        """Line of the entry at `place`, counted from 1; see `where`."""
        if self._tree is None:
            # One entry a line: what lies deeper is on the line of its entry.
            return self._lines.get(tuple(place[:2])) or self._lines.get(tuple(place[:1]), 1)
        node, line = self._tree, 0
        for key in place:
            if isinstance(node, CommentedMap) and key in node:
                # A key that came in through a merge (<<) has no line of its own here.
                line = node.lc.data[key][0] if key in (node.lc.data or {}) else line
            elif isinstance(node, CommentedSeq) and isinstance(key, int) and key < len(node):
                line = node.lc.data[key][0]
            else:
                break
            node = node[key]
        return int(line) + 1

    def _text(self) -> str:
        try:
            return self.path.read_text(encoding="utf-8")
        except OSError as error:
            raise BadTopology(f"{self.path}: cannot be read: {error.strerror}; give a readable YAML file") from error
        except UnicodeDecodeError as error:
            raise BadTopology(f"{self.path}: byte {error.start} is not UTF-8; save the file as UTF-8 text") from error

    def _read(self, text: str) -> Any:
        parser = YAML(typ="rt", pure=True)
        self._most_entries = max(MAX_ENTRIES, len(text))
        try:
            tree = parser.load(text)
        except MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            line = mark.line + 1 if mark is not None else 1
            raise BadTopology(f"{self.path}:{line}: {_yaml_complaint(error)}") from error
        except YAMLError as error:
            raise BadTopology(f"{self.path}:1: this is not YAML: {' '.join(str(error).split())}") from error
        except (RecursionError, ValueError, TypeError, AttributeError, KeyError, AssertionError) as error:
            # What the parser runs into with anchors that hold themselves, deep nesting and endless numbers.
            raise BadTopology(f"{self.path}:1: {_parser_complaint(error)}") from None
        if not isinstance(tree, CommentedMap):
            raise BadTopology(f"{self.path}:1: {self._kind}; this one is {_what(tree)}")
        return tree

    def _plain(self, node: Any, depth: int) -> Any:
        if depth > MAX_DEPTH:
            raise BadTopology(f"{self.path}:1: nested deeper than {MAX_DEPTH} levels; is there an alias in itself?")
        self._entry_count += 1
        if self._entry_count > self._most_entries:
            raise BadTopology(
                f"{self.path}:1: more than {self._most_entries} entries with its aliases written out; use count"
            )
        if isinstance(node, int) and not -MAX_INTEGER < node < MAX_INTEGER:
            raise BadTopology(f"{self.path}:1: a whole number has {node.bit_length()} bits; at most 63 are read")
        if isinstance(node, CommentedMap):
            return {key: self._plain(value, depth + 1) for key, value in node.items()}
        if isinstance(node, CommentedSeq):
            return [self._plain(value, depth + 1) for value in node]
        # Numbers keep their layout in subclasses of int and float; the checks want the plain types.
        for plain in (bool, int, float, str):
            if isinstance(node, plain):
                return plain(node)
        return node


def _what(tree: object) -> str:
    """What a document is that is no mapping, in words."""
    if tree is None:
        return "empty"
    return "a list" if isinstance(tree, CommentedSeq) else "text or a number"


def _yaml_complaint(error: MarkedYAMLError) -> str:
    problem = str(error.problem or error.context or "this is no YAML").strip()
    if problem.startswith("found duplicate key"):
        key = problem.removeprefix("found duplicate key").split(" with value")[0].strip().strip('"')
        return f"{key!r} is declared twice in one mapping; two entries of one name cannot be told apart, rename one"
    return f"this is not YAML: {problem}"


def _parser_complaint(error: Exception) -> str:
    if isinstance(error, RecursionError):
        return f"nested deeper than {MAX_DEPTH} levels; is there an alias in itself?"
    if isinstance(error, ValueError):
        return f"this is no YAML that can be read: {str(error)[:200]}"
    return "this is no YAML that can be read; is there an anchor that is merged into itself?"
