"""Finds topology files: a name among the shipped ones, or a path.

In a wheel they lie beside this module in ``declared/``; in a checkout in ``topologies/`` at its top.
"""

from __future__ import annotations

import re
from functools import lru_cache
from importlib import resources
from itertools import takewhile
from pathlib import Path

from controller.errors import BadTopology
from controller.topology.nearest import hint

SUFFIXES = (".yaml", ".yml")


@lru_cache(maxsize=1)
def shipped_folder() -> Path:
    """Where the shipped topologies are.

    Raises:
        BadTopology: neither place exists, so the installation is broken.
    """
    packaged = resources.files("controller.topology") / "declared"
    checkout = Path(__file__).resolve().parents[2] / "topologies"
    for folder in (Path(str(packaged)), checkout):
        if folder.is_dir():
            return folder
    raise BadTopology(f"no shipped topologies: neither {packaged} nor {checkout} is there; install windtunnel again")


def list_topologies() -> tuple[str, ...]:
    """Names of the shipped topologies, sorted."""
    return tuple(sorted(path.stem for path in shipped_folder().glob("*.yaml")))


def topology_summary(name: str) -> str:
    """What a shipped topology declares: the first sentence of the comment that its file begins with."""
    lines = topology_path(name).read_text(encoding="utf-8").splitlines()
    comment = [line.removeprefix("#").strip() for line in takewhile(lambda line: line.startswith("#"), lines)]
    return re.split(r"\.(?:\s|$)", " ".join(comment), maxsplit=1)[0]


def topology_path(name_or_path: str | Path) -> Path:
    """The file behind a shipped name, or behind a path: what ends in .yaml or .yml or holds a slash.

    Raises:
        BadTopology: no file there, or no shipped topology of that name.
    """
    text = str(name_or_path)
    if isinstance(name_or_path, Path) or text.endswith(SUFFIXES) or "/" in text or "\\" in text:
        path = Path(text)
        if not path.is_file():
            raise BadTopology(f"{path}: there is no such file; give a topology file or one of {_names()}")
        return path
    if text not in list_topologies():
        raise BadTopology(
            f"unknown topology {text!r}{hint(text, list_topologies(), 'topologies')}; a path ends in .yaml"
        )
    return shipped_folder() / f"{text}.yaml"


def _names() -> str:
    return ", ".join(list_topologies())
