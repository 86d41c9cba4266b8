"""A declared cluster as frozen values: what the loader makes and everything else reads."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from controller.topology.fault import Fault
from node.hardware.device import Constant, DeviceSpec


@dataclass(frozen=True, slots=True)
class Device:
    """One device of the cluster.

    Attributes:
        name: unique: the group's name, with an index when the group declares a count (``csd0``, ``csd1``).
        group: key in the YAML file (``csd``); what overrides and strategies address.
        index: place in its group.
        host: name of the chassis.
        spec: its product with overrides applied.
    """

    name: str
    group: str
    index: int
    host: str
    spec: DeviceSpec


@dataclass(frozen=True, slots=True)
class Abilities:
    """What a switch does with data that passes it.

    Attributes:
        types: element types that it can add up; empty when it reduces nothing.
        multicast: whether it can send what comes in out of several links.
        rate_bytes_per_s: of one stream that it reduces or multiplies [bytes/s].
        constants: ``rate`` with kind and source; empty when built in code.
    """

    types: tuple[str, ...]
    multicast: bool
    rate_bytes_per_s: float
    constants: Mapping[str, Constant] = field(default_factory=dict, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One end of a link: a device with its port, or a switch (then `port` is "")."""

    vertex: str
    port: str = ""

    def __str__(self) -> str:
        return f"{self.vertex}.{self.port}" if self.port else self.vertex


@dataclass(frozen=True, slots=True)
class Link:
    """A cable or bus between two endpoints, with a capacity in each direction.

    Attributes:
        name: unique.
        a, b: its ends; forward is from a to b.
        forward_bytes_per_s, backward_bytes_per_s: capacity per direction [bytes/s].
        latency_s: paid once by a transfer that passes [s].
        constants: ``forward``, ``backward`` and ``latency`` with kind and source; empty when built in code.
        shared: both directions share one capacity, that of forward: a bus, or a half-duplex cable.
        dimension: of the torus that it lies in, whose routes take dimensions in order; -1 elsewhere.
        per_flow: the capacity is that of each flow alone, however many there are.
        passes: other links whose capacity is taken too, as seen forward: a bus, a backbone, a route of its own.
    """

    name: str
    a: Endpoint
    b: Endpoint
    forward_bytes_per_s: float
    backward_bytes_per_s: float
    latency_s: float
    constants: Mapping[str, Constant] = field(default_factory=dict, compare=False, repr=False)
    shared: bool = False
    dimension: int = -1
    per_flow: bool = False
    passes: tuple[Hop, ...] = ()


@dataclass(frozen=True, slots=True)
class Hop:
    """One link of a route and the direction in which it is taken."""

    link: Link
    forward: bool

    @property
    def tail(self) -> Endpoint:
        """Where the hop starts."""
        return self.link.a if self.forward else self.link.b

    @property
    def resource(self) -> str:
        """Name of the capacity that it takes: ``NAME>`` forward, ``NAME<`` backward, always the first when shared."""
        return f"{self.link.name}{'>' if self.forward or self.link.shared else '<'}"

    @property
    def head(self) -> Endpoint:
        """Where the hop ends."""
        return self.link.b if self.forward else self.link.a

    @property
    def bytes_per_s(self) -> float:
        """Capacity in the direction in which it is taken [bytes/s]."""
        return self.link.forward_bytes_per_s if self.forward else self.link.backward_bytes_per_s

    @property
    def drawn(self) -> tuple[Hop, ...]:
        """The hop, and what its link passes, in the direction in which each is taken."""
        return (self, *(Hop(each.link, each.forward == self.forward) for each in self.link.passes))


@dataclass(frozen=True, slots=True)
class Route:
    """The hops between two devices; none when they are the same."""

    hops: tuple[Hop, ...]
    latency_s: float


@dataclass(frozen=True)
class Topology:
    """A declared cluster.

    Attributes:
        name: of the file.
        source: path or name that it was loaded from.
        devices: by name, in the order of declaration.
        switches: names of vertices that are no devices.
        links: in the order of declaration.
        overrides: the ``--set`` texts that were applied, in order.
        abilities: what switches do with data, by name; those that only pass it on are absent.
        digest: SHA-256 over the resolved content, hex; equal digests give equal times.
        options: what routing and the models of software read, by name.
        rent_usd_per_hour: rent of one device by its product [USD/h]; of no influence on time.
        faults: what breaks or slows down in the middle of a run, in the order of declaration.
        failed_links: that are declared and pass nothing; no route knows them.
        switch_hosts: the chassis of every switch, "" of one between hosts.
    """

    name: str
    source: str
    devices: Mapping[str, Device]
    switches: tuple[str, ...]
    links: tuple[Link, ...]
    overrides: tuple[str, ...] = ()
    digest: str = ""
    options: Mapping[str, str] = field(default_factory=dict)
    rent_usd_per_hour: Mapping[str, float] = field(default_factory=dict)
    faults: tuple[Fault, ...] = ()
    failed_links: tuple[Link, ...] = ()
    switch_hosts: Mapping[str, str] = field(default_factory=dict)
    abilities: Mapping[str, Abilities] = field(default_factory=dict)

    def group(self, name: str) -> tuple[Device, ...]:
        """The devices of one group, in order; empty when there is no such group."""
        return tuple(device for device in self.devices.values() if device.group == name)

    def of_kind(self, kind: str) -> tuple[Device, ...]:
        """The devices of one kind (gpu, cpu, cxl, csd, npu), in order."""
        return tuple(device for device in self.devices.values() if device.spec.kind == kind)
