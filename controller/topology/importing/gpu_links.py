"""Links of GPUs with one another in NCCL's and RCCL's files: NVLinks and XGMI, with the rates that these two count."""

from __future__ import annotations

import re
from collections.abc import Mapping

from controller.errors import BadTopology
from controller.topology.importing.markup import Element
from controller.topology.importing.sketch import Chassis, Connection, Given, first_port, latency_of, rate_of
from node.hardware.device import DeviceSpec

NVLINK_BY_SM = {60: 18.0, 70: 20.0, 80: 20.0, 86: 12.0, 90: 20.6, 100: 40.1}
"""Rate of one NVLink [GB/s] from the compute capability on. Source: NCCL, src/graph/topo.h."""

XGMI_BY_GCN = {"90a": 36.0, "910": 36.0, "94": 48.0, "95": 48.0}
"""Rate of one XGMI link [GB/s] by the first digits of the architecture. Source: RCCL, src/graph/topo.h."""
XGMI_OF_VEGA = 24.0
NVSWITCH_CLASS = "0x068000"
PROCESSOR_CLASS = "0x068001"
"""That of an NVLink to a processor, as POWER9 has them. Source: NCCL, src/graph/topo.cc."""


def link_gpus(
    chassis: Chassis, gpus: dict[str, tuple[str, Element]], spec: DeviceSpec, given: Given, roots: Mapping[str, str]
) -> None:
    """Adds every link of a GPU to another one or to the NVSwitches.

    Args:
        chassis: of the GPUs.
        gpus: name and element by lower-case bus id.
        spec: of the GPUs.
        given: what the user says.
        roots: switch of the processor by name of GPU.

    Raises:
        BadTopology: a link that ends nowhere, or of an unknown rate.
    """
    done: dict[tuple[str, str], float] = {}
    for name, gpu in gpus.values():
        for link in gpu.all("nvlink", "xgmi"):
            kind = link.tag
            port = first_port(spec, (kind,), link.where)
            count = link.number("count")
            lane, source = _lane(gpu, kind)
            said = f"{link.path.name}:{link.line}, {count:g} {source}"
            rate = rate_of(given, kind, link.where, count * lane, said, "measured")
            target = link.need("target").lower()
            if link.attributes.get("tclass", "").startswith(NVSWITCH_CLASS):
                other = "nvswitch"
                if other not in chassis.switches:
                    chassis.switches.append(other)
            elif link.attributes.get("tclass", "").startswith(PROCESSOR_CLASS):
                other = roots[name]
            elif target in gpus:
                other = gpus[target][0]
            else:
                raise BadTopology(f"{link.where}: <{kind}> to {target}, which is not a GPU of the file")
            if (other, name) in done:
                if done[other, name] != count:
                    raise BadTopology(
                        f"{link.where}: {count:g} links from {name} to {other}, and {done[other, name]:g} the other "
                        f"way; give the file as the run wrote it"
                    )
                continue
            done[name, other] = count
            end = other if other in chassis.switches else f"{other}.{port}"
            latency = latency_of(given, kind, link.where)
            chassis.links.append(Connection(f"{name}.{port}", end, rate, latency))


def merge_switch_links(element: Element) -> None:
    """Several NVSwitches behind one GPU become one entry with all its lanes: they block nothing between them."""
    for child in element.children:
        merge_switch_links(child)
    switched = [link for link in element.all("nvlink") if link.attributes.get("tclass", "").startswith(NVSWITCH_CLASS)]
    if len(switched) > 1:
        total = sum(link.number("count") for link in switched)
        merged = Element("nvlink", {**switched[0].attributes, "count": f"{total:g}"}, switched[0].line, element.path)
        element.children = [child for child in element.children if child not in switched] + [merged]


def _lane(gpu: Element, kind: str) -> tuple[float, str]:
    """Rate of one link [bytes/s], and what it is in words."""
    if kind == "xgmi":
        architecture = gpu.attributes.get("gcn", "").removeprefix("gfx").partition(":")[0]
        rate = next((rate for first, rate in XGMI_BY_GCN.items() if architecture.startswith(first)), XGMI_OF_VEGA)
        if not re.fullmatch(r"[0-9a-f]{3,4}", architecture):
            raise BadTopology(f"{gpu.where}: gcn={architecture!r} is not an architecture; RCCL writes for example 942")
        return rate * 1e9, f"XGMI links of {rate:g} GB/s (RCCL, src/graph/topo.h)"
    capability = gpu.number("sm")
    known = [sm for sm in NVLINK_BY_SM if sm <= capability]
    if not known:
        raise BadTopology(f"{gpu.where}: sm={capability:g}: no rate of its NVLinks is known below sm 60")
    # 80 and 86 are neighbours with different links, so the largest that is not above.
    lane = NVLINK_BY_SM[max(known)] * 1e9
    return lane, f"NVLinks of {lane / 1e9:g} GB/s (NCCL, src/graph/topo.h)"
