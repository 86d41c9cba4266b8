"""NCCL's own view of a host, as it writes it to the file that NCCL_TOPO_DUMP_FILE names.

Read: ``cpu``, nested ``pci``, ``gpu``, ``nvlink`` to GPUs or NVSwitches, RCCL's ``xgmi``, ``nic`` with ``net``; in
files without ``gpu``, which vendors ship for NCCL_TOPO_FILE, GPUs and NICs are known by their PCI class. A processor
becomes a switch (its root complex), and a device as well when ``--product cpu=NAME`` is given.
Rates are those of the file: PCIe speed times width, network speed, and per NVLink what NCCL's topo.h has for the
compute capability. Latencies must be given, except those of networks.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from controller.errors import BadTopology
from controller.topology.importing.gpu_links import link_gpus, merge_switch_links
from controller.topology.importing.markup import Element, read_markup
from controller.topology.importing.sketch import (
    HOST_PORTS,
    Chassis,
    Connection,
    Given,
    Sketch,
    first_port,
    latency_of,
    rate_of,
)
from node.hardware.device import DeviceSpec

GPU_CLASSES = ("0x0302", "0x0300", "0x0380", "0x1200")
"""PCI classes of GPUs and of accelerators."""
NIC_CLASSES = ("0x0200", "0x0207", "0x0280")
WIDTHS = (1, 2, 4, 8, 12, 16, 32)
"""Lanes that a slot may have; virtual machines write 0, 63 or 255 where they do not know."""
READ: Mapping[str, frozenset[str]] = {
    "system": frozenset({"version", "name"}),
    "cpu": frozenset({"numaid", "affinity", "arch", "vendor", "familyid", "modelid", "host_hash"}),
    "pci": frozenset({"busid", "class", "vendor", "device", "subsystem_vendor", "subsystem_device", "link_speed",
                      "link_width"}),
    "gpu": frozenset({"dev", "sm", "rank", "gdr", "gcn", "arch"}),
    "nvlink": frozenset({"target", "count", "tclass"}),
    "xgmi": frozenset({"target", "count", "tclass"}),
    "c2c": frozenset({"bw", "count"}),
    "nic": frozenset(),
    "net": frozenset({"name", "dev", "latency", "speed", "port", "guid", "maxconn", "gdr", "coll"}),
}  # fmt: skip
"""Attributes that are read, or that no time hangs on; others are noted."""


class _Host:
    """One ``system``, read top down."""

    def __init__(self, system: Element, given: Given) -> None:
        self.given = given
        devices = sorted(_devices(system), key=lambda gpu: gpu.number("dev"))
        self.bare = not devices
        self.order = {gpu.need("dev"): index for index, gpu in enumerate(devices)}
        if len(self.order) < len(devices):
            raise BadTopology(f"{system.where}: two <gpu> have the same dev; give the file of one host")
        self.chassis = Chassis()
        self.notes: list[str] = []
        self.gpus: dict[str, tuple[str, Element]] = {}
        self.roots: list[tuple[str, Element]] = []
        self.spec: DeviceSpec | None = None
        self.outside: list[Connection] = []
        self.root_of: dict[str, str] = {}
        self.cards: dict[str, str] = {}

    def cpu(self, element: Element) -> None:
        root = f"root{len(self.roots)}"
        self.roots.append((root, element))
        self.chassis.switches.append(root)
        if "cpu" in self.given.products:
            spec = self.given.product("cpu", f"cpu{element.need('numaid')}", element.where)
            port = first_port(spec, ("pcie",), element.where)
            device = f"cpu{len(self.roots) - 1}"
            self.chassis.devices[device] = (spec.product, None)
            source = f"the {port} port of {spec.product}"
            self.link(f"{device}.{port}", root, "cpu", element, spec.ports[port].read_bytes_per_s, source)
        else:
            self.notes.append("the processors, which are switches here: give --product cpu=NAME to have them")
        self.inside(element, root)

    def inside(self, element: Element, parent: str) -> None:
        for child in element.children:
            match child.tag:
                case "pci":
                    self.pci(child, parent)
                case "nic":
                    self.nic(child, parent)
                case "gpu" | "nvlink" | "xgmi" | "c2c":
                    pass
                case other:
                    self.notes.append(f"<{other}>")

    def pci(self, element: Element, parent: str) -> None:
        kind = element.attributes.get("class", "").lower()[:6]
        gpu = next(element.all("gpu"), element if self.bare and kind in GPU_CLASSES else None)
        if gpu is not None:
            name = f"gpu{len(self.gpus) if self.bare else self.order[gpu.need('dev')]}"
            self.root_of[name] = self.roots[-1][0]
            self.spec = self.given.product("gpu", "gpu", gpu.where)
            self.gpus[element.need("busid").lower()] = (name, gpu)
            if sum(1 for _ in element.all("gpu")) > 1:
                raise BadTopology(
                    f"{gpu.where}: several <gpu> in one <pci>, which are parts of one GPU; give the file of a run with "
                    f"whole GPUs"
                )
            if gpu.attributes.get("gdr") == "0":
                self.notes.append("gdr=0 of <gpu>: what NICs send to it passes the memory of the host")
            self.to_processor(name, gpu, element, parent)
            self.notes += [f"<{child.tag}>" for child in gpu.children if child.tag not in ("nvlink", "xgmi", "c2c")]
            return
        if self.bare and kind in NIC_CLASSES and not element.children:
            self.bare_nic(element, parent)
            return
        if not element.children and not kind.startswith("0x0604"):
            what = "a GPU that took no part in the run" if kind in GPU_CLASSES else "a device that is no GPU and no NIC"
            self.notes.append(f"<pci> {element.attributes.get('busid', '')}, {what}")
            return
        nics = list(element.all("nic"))
        if nics and not any(element.all("pci")):
            for nic in nics:
                self.nic(nic, parent, element)
            return
        switch = f"pcie{sum(name.startswith('pcie') for name in self.chassis.switches)}"
        self.chassis.switches.append(switch)
        self.link(switch, parent, "pcie", element, _pcie_rate(element))
        self.inside(element, switch)

    def to_processor(self, name: str, gpu: Element, element: Element, parent: str) -> None:
        """The slot of a GPU, and its NVLink-C2C where the product has that."""
        assert self.spec is not None
        c2c = next(gpu.all("c2c"), None)
        if c2c is not None and "c2c" in self.spec.ports:
            # NCCL has MB/s a link.
            rate = c2c.number("bw") * c2c.number("count") * 1e6
            self.link(f"{name}.c2c", self.roots[-1][0], "c2c", c2c, rate)
            if not any(port in self.spec.ports for port in HOST_PORTS):
                self.notes.append(f"the slots of the GPUs, since {self.spec.product} reaches its processor over C2C")
                return
        elif c2c is not None:
            self.notes.append("<c2c>, the link of a GPU with its processor")
        port = first_port(self.spec, HOST_PORTS, gpu.where)
        self.link(f"{name}.{port}", parent, "pcie", element, _pcie_rate(element))

    def nic(self, element: Element, parent: str, slot: Element | None = None) -> None:
        nets = list(element.all("net"))
        self.notes += [f"<{child.tag}> of <nic>" for child in element.children if child.tag != "net"]
        if slot is None:
            for net in nets:
                self.ports([net], parent, net, self.speed(net))
        elif nets:
            # The ports of one card share its slot.
            self.ports(nets, parent, slot, _pcie_rate(slot))

    def card(self, slot: Element, parent: str, rate: float | None) -> str:
        """The NIC in a slot; the functions of one card (``41:00.0`` and ``41:00.1``) share it."""
        place, _, function = slot.attributes.get("busid", "").rpartition(".")
        if place and function.isdecimal() and place in self.cards:
            return self.cards[place]
        name = self.new_nic()
        if place:
            self.cards[place] = name
        self.link(name, parent, "pcie", slot, rate)
        return name

    def ports(self, nets: list[Element], parent: str, slot: Element, slot_rate: float | None) -> None:
        name = self.card(slot, parent, slot_rate)
        first = sum(each.a == name for each in self.outside)
        if any(net.attributes.get("gdr") == "0" for net in nets):
            self.notes.append("gdr=0 of <net>: what GPUs send there passes the memory of the host")
        for number, net in enumerate(nets, first):
            # NCCL has latencies in us, and 0 where it does not know.
            wait_s, speed = net.number("latency", 0.0) * 1e-6, self.speed(net)
            latency = latency_of(self.given, "network", net.where, wait_s or None, f"{net.path.name}:{net.line}")
            rate = rate_of(self.given, "network", net.where, speed, f"{net.path.name}:{net.line}, speed in Mb/s")
            label = f"{name}_port{number}" if len(nets) > 1 or number else ""
            self.outside.append(Connection(name, "network", rate, latency, name=label))

    def speed(self, net: Element) -> float | None:
        """[bytes/s]; None where only ``--link network`` says it."""
        if "speed" not in net.attributes and "network" in self.given.links:
            return None
        return net.number("speed") * 1e6 / 8

    def new_nic(self) -> str:
        name = f"nic{sum(each.startswith('nic') for each in self.chassis.switches)}"
        self.chassis.switches.append(name)
        return name

    def bare_nic(self, element: Element, parent: str) -> None:
        """A NIC of which the file says its slot alone."""
        name = self.card(element, parent, _pcie_rate(element))
        if "network" in self.given.links:
            rate = rate_of(self.given, "network", element.where, None, "")
            self.outside.append(Connection(name, "network", rate, latency_of(self.given, "network", element.where)))

    def link(self, a: str, b: str, name: str, element: Element, rate: float | None = None, source: str = "") -> None:
        where = element.where
        said = rate_of(self.given, name, where, rate, source or f"{element.path.name}:{element.line}")
        self.chassis.links.append(Connection(a, b, said, latency_of(self.given, name, where)))


def nccl(path: Path, name: str, given: Given) -> Sketch:
    """See the module.

    Raises:
        BadTopology: a file that is none of NCCL's, or something that must be given.
    """
    system = read_markup(path, "system")
    host = _Host(system, given)
    unread = _unread(system)
    merge_switch_links(system)
    for element in system.children:
        if element.tag == "cpu":
            host.cpu(element)
        else:
            host.notes.append(f"<{element.tag}>")
    if not host.gpus:
        raise BadTopology(
            f"{system.where}: no <gpu> in the file, and no <pci> of class 0x0302; give what a run on GPUs writes with "
            f"NCCL_TOPO_DUMP_FILE=topo.xml"
        )
    hashes = {cpu.attributes.get("host_hash", "") for _, cpu in host.roots}
    if len(hashes) > 1:
        raise BadTopology(f"{system.where}: the processors are of {len(hashes)} hosts; give the file of one host")
    for index, (a, element) in enumerate(host.roots):
        for b, _ in host.roots[index + 1 :]:
            host.link(a, b, "sockets", element)
    assert host.spec is not None
    if host.bare:
        _say_what_an_input_file_lacks(host, system)
    else:
        link_gpus(host.chassis, host.gpus, host.spec, given, host.root_of)
    host.notes += unread
    host.chassis.devices["gpu"] = (host.spec.product, len(host.gpus))
    network = ["network"] if host.outside else []
    return Sketch(name, {"host0": host.chassis}, network, host.outside, host.notes)


def _say_what_an_input_file_lacks(host: _Host, system: Element) -> None:
    """NVLinks and networks of a file that lists slots alone, as vendors ship them for NCCL_TOPO_FILE."""
    assert host.spec is not None
    full = "a run with NCCL_TOPO_DUMP_FILE=topo.xml writes the whole file"
    if "nvlink" in host.given.links:
        port = first_port(host.spec, ("nvlink", "xgmi"), system.where)
        host.chassis.switches.append("nvswitch")
        for name, element in host.gpus.values():
            rate = rate_of(host.given, "nvlink", element.where, None, "")
            latency = latency_of(host.given, "nvlink", element.where)
            host.chassis.links.append(Connection(f"{name}.{port}", "nvswitch", rate, latency))
    else:
        host.notes.append(f"NVLinks, which the file does not list: give --link nvlink=RATE for a switch; {full}")
    if not host.outside and any(switch.startswith("nic") for switch in host.chassis.switches):
        host.notes.append(f"networks, which the file does not list: give --link network=RATE; {full}")


def _unread(element: Element) -> list[str]:
    """Attributes that nobody reads, one note a kind of element and attribute."""
    found = [
        f"{name} of <{element.tag}>"
        for name in element.attributes
        if element.tag in READ and name not in READ[element.tag]
    ]
    return found + [note for child in element.children for note in _unread(child)]


def _devices(element: Element) -> list[Element]:
    """Every GPU at or below an element."""
    below = [gpu for child in element.children for gpu in _devices(child)]
    return [element, *below] if element.tag == "gpu" else below


def _pcie_rate(element: Element) -> float | None:
    """Speed times width less the line code [bytes/s]; None where the file does not say."""
    speed = re.match(r"([0-9.]+)\s*GT/s", element.attributes.get("link_speed", ""))
    width = element.number("link_width", 0.0) if element.attributes.get("link_width") else 0.0
    if speed is None or width not in WIDTHS:
        return None
    transfers = float(speed[1])
    code = 8 / 10 if transfers <= 5 else 128 / 130
    return transfers * 1e9 * width * code / 8
