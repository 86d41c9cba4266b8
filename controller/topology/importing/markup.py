"""XML with line numbers, and without what makes foreign XML dangerous: no entities, no external files, a size limit."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from xml.parsers import expat

from controller.errors import BadTopology
from controller.topology.importing.sketch import text_of

OTHER_FILES = {
    "graphs": "; this is what NCCL_GRAPH_DUMP_FILE names, the channels that NCCL chose: give what NCCL_TOPO_DUMP_FILE "
    "names, the machine",
    "topology": "; this is what hwloc's lstopo writes",
    "job": "; this is no platform but what to run on one (SimGrid)",
}
"""What files with other roots are, that are given by mistake."""
MAX_DEPTH = 64
MAX_ELEMENTS = 1_000_000


@dataclass(slots=True)
class Element:
    """One element: its tag, attributes, children and line."""

    tag: str
    attributes: Mapping[str, str]
    line: int
    path: Path
    children: list[Element] = field(default_factory=list)

    @property
    def where(self) -> str:
        """``file:line``."""
        return f"{self.path}:{self.line}"

    def all(self, *tags: str) -> Iterator[Element]:
        """Children with one of the tags."""
        return (child for child in self.children if child.tag in tags)

    def need(self, name: str) -> str:
        """An attribute.

        Raises:
            BadTopology: it is missing.
        """
        if name not in self.attributes:
            raise BadTopology(f"{self.where}: <{self.tag}> lacks the attribute {name!r}")
        return self.attributes[name]

    def number(self, name: str, default: float | None = None) -> float:
        """An attribute as a number.

        Raises:
            BadTopology: not a number, or missing without a default.
        """
        if name not in self.attributes and default is not None:
            return default
        try:
            return float(self.need(name))
        except ValueError as error:
            raise BadTopology(f"{self.where}: {name}={self.need(name)!r} is no number") from error


def read_markup(path: Path, root: str) -> Element:
    """The root element of an XML file.

    Args:
        path: the file.
        root: the tag that the root must have.

    Raises:
        BadTopology: no XML, too deep or large, another root, or an entity declaration.
    """
    text = text_of(path)
    parser = expat.ParserCreate()
    stack: list[Element] = []
    found: list[Element] = []
    count = 0

    def start(tag: str, attributes: dict[str, str]) -> None:
        nonlocal count
        count += 1
        element = Element(tag, attributes, parser.CurrentLineNumber, path)
        if len(stack) >= MAX_DEPTH or count > MAX_ELEMENTS:
            raise BadTopology(f"{element.where}: more than {MAX_DEPTH} levels or {MAX_ELEMENTS} elements")
        (stack[-1].children if stack else found).append(element)
        stack.append(element)

    def refuse(*_: object) -> None:
        raise BadTopology(f"{path}:{parser.CurrentLineNumber}: the file declares an entity; entities are not read")

    parser.StartElementHandler = start
    parser.EndElementHandler = lambda tag: stack.pop()
    parser.EntityDeclHandler = refuse
    parser.ExternalEntityRefHandler = lambda *_: 0
    parser.SetParamEntityParsing(expat.XML_PARAM_ENTITY_PARSING_NEVER)
    try:
        parser.Parse(text, True)
    except expat.ExpatError as error:
        raise BadTopology(f"{path}:{error.lineno}: this is not XML: {expat.ErrorString(error.code)}") from error
    if found[0].tag != root:
        other = OTHER_FILES.get(found[0].tag, "")
        raise BadTopology(f"{found[0].where}: the root is <{found[0].tag}>, not <{root}>{other}")
    return found[0]
