"""From a ``fabric:`` block and its ``--set`` texts to what it stands for."""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from typing import Any

from pydantic import ValidationError

from controller.errors import BadOverride, BadTopology
from controller.topology.complaints import complaint
from controller.topology.declaration import Declaration
from controller.topology.document import Document
from controller.topology.generate.blocks import FabricBlock
from controller.topology.generate.host import MAX_VERTICES
from controller.topology.generate.table import KINDS, block_of
from controller.topology.generate.weaver import Expansion, Weaver
from controller.topology.nearest import hint
from controller.topology.overrides import Override

TARGET = "fabric"


def expanded(document: Document, declaration: Declaration, overrides: Sequence[Override]) -> Expansion:
    """What the ``fabric:`` block of a file stands for; nothing when there is none.

    Raises:
        BadTopology: an invalid block, with file and line.
        BadOverride: an invalid override of the block.
    """
    meant = [override for override in overrides if override.target == TARGET]
    if declaration.fabric is None:
        if meant:
            raise meant[0].wrong("the file has no fabric: block")
        return Expansion()
    block = _block(document, _with_overrides(declaration.fabric, meant), meant)
    count = block.host_count
    if count * block.host.vertex_count > MAX_VERTICES:
        raise BadTopology(
            f"{document.where((TARGET,))}: {count} hosts of {block.host.vertex_count} devices and switches each are "
            f"more than {MAX_VERTICES}; declare a smaller fabric"
        )
    weaver = Weaver(document, block.host, count)
    block.weave(weaver)
    for host in declaration.hosts:
        if host in weaver.expansion.hosts:
            raise BadTopology(
                f"{document.where(('hosts', host))}: the fabric has a host {host!r} already; name this one otherwise"
            )
    return weaver.expansion


def _block(document: Document, data: dict[str, Any], overrides: Sequence[Override]) -> FabricBlock:
    kind = data.get("kind")
    if not isinstance(kind, str) or kind not in KINDS:
        said = f"unknown kind {kind!r}" if "kind" in data else "it lacks the key 'kind'"
        for override in overrides:
            if override.path == "kind":
                raise override.wrong(f"{said}{hint(override.value, KINDS, 'kinds')}")
        raise BadTopology(f"{document.where((TARGET, 'kind'))}: fabric: {said}{hint(str(kind), KINDS, 'kinds')}")
    found = block_of(str(kind))
    try:
        return found.model_validate(data)
    except ValidationError as error:
        raise _complaints(document, found, error, overrides) from error


def _complaints(
    document: Document, block: type[FabricBlock], error: ValidationError, overrides: Sequence[Override]
) -> BadTopology | BadOverride:
    keys = tuple(block.model_fields)
    found: set[tuple[int, str]] = set()
    for detail in error.errors(include_url=False):
        text = complaint(detail, (TARGET,), keys)
        place = tuple(str(key) for key in detail["loc"])
        for override in overrides:
            path = tuple(override.path.split("."))
            if place[: len(path)] == path:
                return override.wrong(text)
        found.add((document.line((TARGET, *detail["loc"])), text))
    return BadTopology("\n".join(f"{document.path}:{line}: {text}" for line, text in sorted(found)))


def _with_overrides(block: dict[str, Any], overrides: Sequence[Override]) -> dict[str, Any]:
    changed: dict[str, Any] = deepcopy(block)
    for override in overrides:
        *path, last = override.path.split(".")
        inside: Any = changed
        for key in path:
            inside = _entry(inside, key, override)
        if isinstance(inside, list):
            _entry(inside, last, override)
            inside[int(last)] = _scalar(override.value)
        elif isinstance(inside, dict):
            inside[last] = _scalar(override.value)
        else:
            raise override.wrong(f"fabric.{'.'.join(path)} is {inside!r} and has no {last!r}")
    return changed


def _entry(inside: Any, key: str, override: Override) -> Any:
    if isinstance(inside, dict) and key in inside:
        return inside[key]
    if isinstance(inside, list) and key.isdecimal() and int(key) < len(inside):
        return inside[int(key)]
    known = inside if isinstance(inside, dict) else [str(index) for index in range(len(inside or ()))]
    raise override.wrong(f"the fabric has no {key!r} there{hint(key, map(str, known), 'keys')}")


def _scalar(text: str) -> Any:
    """As YAML reads it: a number, true or false, or text."""
    if text in ("true", "false"):
        return text == "true"
    for number in (int, float):
        try:
            return number(text)
        except ValueError:
            continue
    return text
