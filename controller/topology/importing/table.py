"""The table of formats: adding one is one file and one line here."""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

from controller.errors import BadTopology, UserError
from controller.topology.importing.sketch import Given, Names, Sketch
from controller.topology.importing.written import file_text
from controller.topology.loader import load_topology
from controller.topology.nearest import hint

Importer = Callable[[Path, str, Given], Sketch]
"""(file, name of the topology, what the user gives) to what was understood."""

FORMATS: Mapping[str, tuple[str, str]] = {
    "nvidia-topo": ("controller.topology.importing.nvidia_topo:nvidia_topo", "the output of nvidia-smi topo -m"),
    "rocm-topo": ("controller.topology.importing.rocm_topo:rocm_topo", "the output of rocm-smi --showtopo"),
    "nccl": ("controller.topology.importing.nccl:nccl", "the XML that NCCL_TOPO_DUMP_FILE names"),
    "simgrid": ("controller.topology.importing.simgrid.platform:simgrid", "a SimGrid platform, XML"),
    "infragraph": ("controller.topology.importing.infragraph:infragraph", "an InfraGraph infrastructure, YAML or JSON"),
}
"""Format to (``module:function``, what it is)."""


CHECKED_HOSTS = 512
"""Most hosts of a topology that is loaded at once to see that it can be."""


class UnknownFormat(UserError):
    """No importer of that name."""


def import_topology(format_name: str, path: str | Path, name: str = "", given: Given | None = None) -> str:
    """A topology file, as text, from a file of another format.

    Args:
        format_name: one of `FORMATS`.
        path: the file.
        name: of the topology; "" for the stem of the file.
        given: what the user says where the format is silent.

    Raises:
        UnknownFormat: no such format; names the nearest one.
        BadTopology: a file that cannot be read or understood, with its line.
    """
    if format_name not in FORMATS:
        raise UnknownFormat(f"no importer for {format_name!r}{hint(format_name, FORMATS, 'formats')}")
    module, _, function = FORMATS[format_name][0].partition(":")
    importer: Importer = getattr(importlib.import_module(module), function)
    source, known = Path(path), given or Given()
    sketch = importer(source, name or Names().of(source.stem), known)
    text = file_text(sketch, f"{source.name}, {FORMATS[format_name][1]}")
    if len(sketch.hosts) <= CHECKED_HOSTS:
        _check(text, source, known)
    return text


def _check(text: str, source: Path, given: Given) -> None:
    """Loads what was made, so that `topology check` accepts it.

    Raises:
        BadTopology: it is no topology, since the file says something that none can hold.
    """
    with TemporaryDirectory() as folder:
        made = Path(folder) / "imported.yaml"
        made.write_text(text, encoding="utf-8")
        try:
            load_topology(str(made), (), given.folders)
        except BadTopology as error:
            why = "; ".join(re.sub(r"^\S*imported\.yaml:\d+: ", "", line) for line in str(error).splitlines()[:3])
            raise BadTopology(f"{source}: what the file describes is no topology: {why}") from error
