"""Names what was asked and which code answered, so that a kept result is found again only where it still holds."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import asdict
from functools import lru_cache
from hashlib import sha256
from importlib import resources
from pathlib import Path

from controller.experiment.run_spec import RunSpec
from controller.topology.shipped import shipped_folder

_DIGITS = 24


@lru_cache(maxsize=1)
def code_digest() -> str:
    """Digest of all sources, sheets, prices and shipped topologies: another one after any change to any of them."""
    total = sha256()
    for name, folder in (
        ("node", Path(str(resources.files("node")))),
        ("controller", Path(str(resources.files("controller")))),
        ("topologies", shipped_folder()),
    ):
        for path in sorted(folder.rglob("*")):
            if path.suffix in (".py", ".yaml", ".json", ".csv") and path.is_file():
                total.update(f"{name}/{path.relative_to(folder).as_posix()}\0".encode())
                total.update(sha256(path.read_bytes()).digest())
    return total.hexdigest()[:_DIGITS]


def request_digest(request: RunSpec, name: str = "") -> str:
    """Digest of a request, of the user's files that it names, and of `name`; equal on every machine."""
    asked = {
        **asdict(request),
        "name": name,
        "files": [sha256(path.read_bytes()).hexdigest() for path in _own(request)],
    }
    return sha256(json.dumps(asked, sort_keys=True, default=str).encode()).hexdigest()[:_DIGITS]


def _own(request: RunSpec) -> Iterator[Path]:
    """Files of the user's own that a request names, in a fixed order."""
    strategy = request.strategy.rpartition(":")[0]
    for text in (strategy, request.model, request.topology or "", *map(str, request.options.values())):
        if os.path.isfile(text):
            yield Path(text)
    for folder in request.catalog:
        yield from sorted(folder.glob("*.y*ml"))
