"""NCCL's own view of a host, as it writes it to the file that NCCL_TOPO_DUMP_FILE names.

Read: ``cpu``, nested ``pci``, ``gpu``, ``nvlink`` to GPUs or NVSwitches, ``nic`` with ``net``. A processor becomes a
switch (its root complex), and a device as well when ``--product cpu=NAME`` is given.
Rates are those of the file: PCIe speed times width, network speed, and per NVLink what NCCL's topo.h has for the
compute capability. Latencies must be given, except those of networks.
"""

from __future__ import annotations

import re
from pathlib import Path

from controller.errors import BadTopology
from controller.topology.importing.markup import Element, read_markup
from controller.topology.importing.sketch import (
    Chassis,
    Connection,
    Given,
    Sketch,
    first_port,
    latency_of,
    rate_of,
)
from node.hardware.device import DeviceSpec

NVLINK_BY_SM = {60: 18.0, 70: 20.0, 80: 20.0, 86: 12.0, 90: 20.6, 100: 40.1}
"""Rate of one NVLink [GB/s] from the compute capability on. Source: NCCL, src/graph/topo.h."""

NVSWITCH_CLASS = "0x0680"


class _Host:
    """One ``system``, read top down."""

    def __init__(self, system: Element, given: Given) -> None:
        self.given = given
        devices = sorted(_devices(system), key=lambda gpu: gpu.number("dev"))
        self.order = {gpu.need("dev"): index for index, gpu in enumerate(devices)}
        if len(self.order) < len(devices):
            raise BadTopology(f"{system.where}: two <gpu> have the same dev; give the file of one host")
        self.chassis = Chassis()
        self.notes: list[str] = []
        self.gpus: dict[str, tuple[str, Element]] = {}
        self.roots: list[tuple[str, Element]] = []
        self.spec: DeviceSpec | None = None
        self.outside: list[Connection] = []

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
                case "gpu" | "nvlink" | "c2c":
                    pass
                case other:
                    self.notes.append(f"<{other}>")

    def pci(self, element: Element, parent: str) -> None:
        gpu = next(element.all("gpu"), None)
        if gpu is not None:
            name = f"gpu{self.order[gpu.need('dev')]}"
            self.spec = self.given.product("gpu", "gpu", gpu.where)
            self.gpus[element.need("busid").lower()] = (name, gpu)
            port = first_port(self.spec, ("pcie",), gpu.where)
            self.link(f"{name}.{port}", parent, "pcie", element, _pcie_rate(element))
            if any(gpu.all("c2c")):
                self.notes.append("<c2c>, the link of a GPU with its processor")
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

    def nic(self, element: Element, parent: str, slot: Element | None = None) -> None:
        for net in element.all("net"):
            name = f"nic{sum(each.startswith('nic') for each in self.chassis.switches)}"
            self.chassis.switches.append(name)
            speed = net.number("speed") * 1e6 / 8
            behind = slot if slot is not None else net
            self.link(name, parent, "pcie", behind, _pcie_rate(slot) if slot is not None else speed)
            # NCCL has latencies in us, and 0 where it does not know.
            wait_s = net.number("latency", 0.0) * 1e-6
            latency = latency_of(self.given, "network", net.where, wait_s or None, f"{net.path.name}:{net.line}")
            rate = rate_of(self.given, "network", net.where, speed, f"{net.path.name}:{net.line}, speed in Mb/s")
            self.outside.append(Connection(name, "network", rate, latency))

    def link(self, a: str, b: str, name: str, element: Element, rate: float | None = None, source: str = "") -> None:
        where = element.where
        said = rate_of(self.given, name, where, rate, source or f"{element.path.name}:{element.line}")
        self.chassis.links.append(Connection(a, b, said, latency_of(self.given, name, where)))

    def nvlinks(self) -> None:
        done: set[tuple[str, str]] = set()
        for _, (name, gpu) in self.gpus.items():
            lane = _lane(gpu)
            for link in gpu.all("nvlink"):
                assert self.spec is not None
                port = first_port(self.spec, ("nvlink",), link.where)
                count = link.number("count")
                source = (
                    f"{link.path.name}:{link.line}, {count:g} NVLinks of {lane / 1e9:g} GB/s (NCCL, src/graph/topo.h)"
                )
                rate = rate_of(self.given, "nvlink", link.where, count * lane, source, "measured")
                target = link.need("target").lower()
                if link.attributes.get("tclass", "").startswith(NVSWITCH_CLASS):
                    other = "nvswitch"
                    if other not in self.chassis.switches:
                        self.chassis.switches.append(other)
                elif target in self.gpus:
                    other = self.gpus[target][0]
                else:
                    raise BadTopology(f"{link.where}: an NVLink to {target}, which is no GPU of the file")
                if (other, name) in done:
                    continue
                done.add((name, other))
                end = other if other == "nvswitch" else f"{other}.{port}"
                latency = latency_of(self.given, "nvlink", link.where)
                self.chassis.links.append(Connection(f"{name}.{port}", end, rate, latency))


def nccl(path: Path, name: str, given: Given) -> Sketch:
    """See the module.

    Raises:
        BadTopology: a file that is none of NCCL's, or something that must be given.
    """
    system = read_markup(path, "system")
    host = _Host(system, given)
    _merge_switch_links(system)
    for element in system.children:
        if element.tag == "cpu":
            host.cpu(element)
        else:
            host.notes.append(f"<{element.tag}>")
    if not host.gpus:
        raise BadTopology(f"{system.where}: no <gpu> in the file; is it from a run on GPUs?")
    hashes = {cpu.attributes.get("host_hash", "") for _, cpu in host.roots}
    if len(hashes) > 1:
        raise BadTopology(f"{system.where}: the processors are of {len(hashes)} hosts; give the file of one host")
    for index, (a, element) in enumerate(host.roots):
        for b, _ in host.roots[index + 1 :]:
            host.link(a, b, "sockets", element)
    host.nvlinks()
    assert host.spec is not None
    host.chassis.devices["gpu"] = (host.spec.product, len(host.gpus))
    network = ["network"] if host.outside else []
    return Sketch(name, {"host0": host.chassis}, network, host.outside, host.notes)


def _devices(element: Element) -> list[Element]:
    """Every GPU at or below an element."""
    below = [gpu for child in element.children for gpu in _devices(child)]
    return [element, *below] if element.tag == "gpu" else below


def _merge_switch_links(element: Element) -> None:
    """Several NVSwitches behind one GPU become one entry with all its lanes: they block nothing between them."""
    for child in element.children:
        _merge_switch_links(child)
    switched = [link for link in element.all("nvlink") if link.attributes.get("tclass", "").startswith(NVSWITCH_CLASS)]
    if len(switched) > 1:
        total = sum(link.number("count") for link in switched)
        merged = Element("nvlink", {**switched[0].attributes, "count": f"{total:g}"}, switched[0].line, element.path)
        element.children = [child for child in element.children if child not in switched] + [merged]


def _lane(gpu: Element) -> float:
    capability = gpu.number("sm")
    known = [sm for sm in NVLINK_BY_SM if sm <= capability]
    if not known:
        raise BadTopology(f"{gpu.where}: sm={capability:g}: no rate of its NVLinks is known below sm 60")
    # 80 and 86 are neighbours with different links, so the largest that is not above.
    return NVLINK_BY_SM[max(known)] * 1e9


def _pcie_rate(element: Element) -> float | None:
    """Speed times width less the line code [bytes/s]; None where the file does not say."""
    speed = re.match(r"([0-9.]+)\s*GT/s", element.attributes.get("link_speed", ""))
    width = element.number("link_width", 0.0)
    if speed is None or not width:
        return None
    transfers = float(speed[1])
    code = 8 / 10 if transfers <= 5 else 128 / 130
    return transfers * 1e9 * width * code / 8
