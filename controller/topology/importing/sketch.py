"""What an importer has understood, and how it becomes YAML."""

from __future__ import annotations

import json
import re
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from controller.errors import BadTopology
from controller.topology.names import RESERVED
from controller.topology.nearest import hint
from node.errors import BadQuantity, UserInput
from node.hardware.catalog import load_product
from node.hardware.device import DeviceSpec
from node.hardware.units import format_quantity, parse

YAML_WORDS = ("null", "true", "false", "yes", "no", "on", "off", "y", "n")
"""Words that YAML does not read as text."""

MAX_BYTES = 64 << 20
"""Largest file that is read [bytes]."""


@dataclass(frozen=True, slots=True)
class Given:
    """What the user says where the format is silent.

    Attributes:
        products: product by kind of device (``gpu``, ``cpu``, ``host``) or by its name in the file; "" for any.
        links: (bandwidth, latency or "") by name of link.
        latency: of links without one, "" when not given.
        folders: of device sheets, looked in before the catalog.
    """

    products: Mapping[str, str] = field(default_factory=dict)
    links: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    latency: str = ""
    folders: tuple[Path, ...] = ()

    def product(self, kind: str, name: str, where: str) -> DeviceSpec:
        """The sheet of a device.

        Args:
            kind: of device, as `products` has it.
            name: in the file.
            where: file and line.

        Raises:
            BadTopology: no product is given, or one that the catalog lacks.
        """
        product = self.products.get(name) or self.products.get(kind) or self.products.get("")
        if product is None:
            raise BadTopology(
                f"{where}: {name!r} is a {kind} of a product that the file does not say; give --product {kind}=NAME, "
                f"with NAME from windtunnel devices"
            )
        try:
            return load_product(product, self.folders)
        except UserInput as error:
            raise BadTopology(f"{where}: {name!r}: {error}") from error


@dataclass(frozen=True, slots=True)
class SourcedQuantity:
    """A number with a unit and where it comes from."""

    text: str
    kind: str
    source: str

    @property
    def entry(self) -> dict[str, str]:
        """The same as an entry of a file."""
        return {"value": self.text, "kind": self.kind, "source": self.source}

    @property
    def yaml(self) -> str:
        """A flow mapping; JSON strings are YAML strings, whatever a file name holds."""
        return f"{{value: {json.dumps(self.text)}, kind: {self.kind}, source: {json.dumps(self.source)}}}"


@dataclass(frozen=True, slots=True)
class Connection:
    """A link between two ends, ``device.port`` or a switch; without bandwidth where what it `passes` says that."""

    a: str
    b: str
    bandwidth: SourcedQuantity | None
    latency: SourcedQuantity
    backward: SourcedQuantity | None = None
    name: str = ""
    shared: bool = False
    per_flow: bool = False
    passes: tuple[str, ...] = ()
    dimension: int = -1


@dataclass(slots=True)
class Chassis:
    """One host: devices as (product, count), switches, links."""

    devices: dict[str, tuple[str, int | None]] = field(default_factory=dict)
    switches: list[str] = field(default_factory=list)
    links: list[Connection] = field(default_factory=list)


@dataclass(slots=True)
class Sketch:
    """A cluster as an importer has understood it.

    Attributes:
        name: of the topology.
        hosts: by name.
        switches, links: between hosts.
        notes: what the file says and the topology does not hold.
        fabric: ``fabric:`` block in place of hosts, where they are too many to list; "" otherwise.
    """

    name: str
    hosts: dict[str, Chassis] = field(default_factory=dict)
    switches: list[str] = field(default_factory=list)
    links: list[Connection] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    fabric: str = ""


def rate_of(
    given: Given, name: str, where: str, bytes_per_s: float | None, source: str, kind: str = "datasheet"
) -> SourcedQuantity:
    """The bandwidth of a link: what the user gives for its name, else what the format says.

    Args:
        given: what the user says.
        name: of the link.
        where: file and line.
        bytes_per_s: what the format says [bytes/s], or None.
        source: of that.
        kind: of that.

    Raises:
        BadTopology: neither says it, or it is no bandwidth.
    """
    if name in given.links:
        return _checked(given.links[name][0], "bytes/s", f"--link {name}")
    if bytes_per_s is None:
        raise BadTopology(
            f"{where}: nothing says how fast the link {name!r} is; give --link {name}='BANDWIDTH' or "
            f"--link {name}='BANDWIDTH,LATENCY'"
        )
    if not bytes_per_s > 0:
        raise BadTopology(f"{where}: the link {name!r} carries {bytes_per_s:g} B/s; it needs more than 0")
    return SourcedQuantity(format_quantity(bytes_per_s, "bytes/s"), kind, source)


def latency_of(given: Given, name: str, where: str, seconds: float | None = None, source: str = "") -> SourcedQuantity:
    """The latency of a link, as `rate_of` its bandwidth.

    Raises:
        BadTopology: nobody says it, or it is no duration.
    """
    if name in given.links and given.links[name][1]:
        return _checked(given.links[name][1], "s", f"--link {name}")
    if seconds is not None:
        return SourcedQuantity(format_quantity(seconds, "s"), "datasheet", source)
    if given.latency:
        return _checked(given.latency, "s", "--latency")
    raise BadTopology(
        f"{where}: nothing says how long the link {name!r} takes; give --latency '500 ns' for all such links, or "
        f"--link {name}='BANDWIDTH,LATENCY'"
    )


class Names:
    """Names that a topology may have, each once, for names of the file."""

    def __init__(self) -> None:
        self._name_of: dict[str, str] = {}
        self._taken: set[str] = set()
        self._again: dict[str, int] = {}

    def of(self, original: str) -> str:
        """The name that stands for `original` from now on."""
        if original not in self._name_of:
            bare = re.sub(r"[^A-Za-z0-9_-]", "_", original)[:48] or "x"
            bare = bare if bare[0].isalpha() else f"n{bare}"
            bare = f"{bare}_" if bare in RESERVED or bare.lower() in YAML_WORDS else bare
            name = bare
            while name in self._taken:
                self._again[bare] = self._again.get(bare, 1) + 1
                name = f"{bare}_{self._again[bare]}"
            self._name_of[original] = name
            self._taken.add(name)
        return self._name_of[original]


HOST_PORTS = ("pcie", "host")
"""Ports over which a GPU reaches its processor in a slot."""


def first_port(spec: DeviceSpec, wanted: tuple[str, ...], where: str) -> str:
    """The first of the ports `wanted` that a product has.

    Raises:
        BadTopology: it has none of them.
    """
    for name in wanted:
        if name in spec.ports:
            return name
    raise BadTopology(f"{where}: {spec.product} has no port {wanted[0]!r}{hint(wanted[0], spec.ports, 'ports')}")


def text_of(path: Path) -> str:
    """The text of a file.

    Raises:
        BadTopology: it cannot be read, is no regular file, too large or no UTF-8.
    """
    try:
        found = path.stat()
        # A pipe may never end or never begin, and a device has no size: neither is opened.
        if not stat.S_ISREG(found.st_mode):
            raise BadTopology(f"{path}: no regular file; save what it holds to a file and give that")
        if found.st_size > MAX_BYTES:
            raise BadTopology(f"{path}: {found.st_size} B; at most {MAX_BYTES} B are read; give a smaller file")
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise BadTopology(f"{path}: cannot be read: {error.strerror}; give a readable file") from error
    except UnicodeDecodeError as error:
        raise BadTopology(f"{path}: byte {error.start} is not UTF-8; save the file as UTF-8 text") from error


def _checked(text: str, dimension: str, option: str) -> SourcedQuantity:
    try:
        parse(text, dimension)
    except BadQuantity as error:
        raise BadTopology(f"{option}: {error}") from error
    return SourcedQuantity(text, "assumed", f"given to the import with {option.split()[0]}")
