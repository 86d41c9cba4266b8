"""A topology as values for JSON, in base units."""

from __future__ import annotations

from typing import Any

from controller.topology.schema import Device, Link, Topology
from controller.topology.show.selection import (
    assumed_constants,
    endpoints_of,
    matrices_of,
    part_of,
    routes_between,
)
from node.hardware.device import PortSpec, TierSpec


def topology_document(topology: Topology, host: str = "") -> dict[str, Any]:
    """The topology as JSON values, in base units: all of it with the matrices of the first hosts, or `host` alone.

    Raises:
        UnknownHost: no such host.
    """
    shown = part_of(topology, host)
    return {
        "name": topology.name,
        "host": host or None,
        "source": topology.source,
        "digest": topology.digest,
        "overrides": list(topology.overrides),
        "options": dict(topology.options),
        "rent_usd_per_hour": dict(topology.rent_usd_per_hour),
        "devices": [_device_document(device) for device in shown.devices.values()],
        "switches": list(shown.switches),
        "abilities": {
            name: {"types": list(each.types), "multicast": each.multicast, "rate_bytes_per_s": each.rate_bytes_per_s}
            for name, each in shown.abilities.items()
        },
        "links": [_link_document(link) for link in shown.links],
        "failed_links": [link.name for link in shown.failed_links],
        "routes_between": endpoints_of(shown)[0],
        "routes": [
            {"from": a, "to": b, "links": [hop.link.name for hop in found.hops], "latency_s": found.latency_s}
            for a, b, found in routes_between(topology, shown)
        ],
        "matrices": [
            {
                "host": matrix.host,
                "names": list(matrix.names),
                "cells": [list(row) for row in matrix.cells],
                "cpu_affinity": list(matrix.cpu_affinity),
                "numa_affinity": list(matrix.numa_affinity),
            }
            for matrix in matrices_of(topology, host)
        ],
        "assumed": [
            {"of": of, "constant": constant, "value": text, "source": source}
            for of, constant, text, source in assumed_constants(shown)
        ],
    }


def _device_document(device: Device) -> dict[str, Any]:
    spec = device.spec
    return {
        "name": device.name,
        "group": device.group,
        "index": device.index,
        "host": device.host,
        "product": spec.product,
        "kind": spec.kind,
        "description": spec.description,
        "tiers": [
            {
                "name": tier.name,
                "storage": tier.storage,
                "capacity_bytes": tier.capacity_bytes,
                **_rates(tier),
                "read_latency_s": tier.read_latency_s,
                "write_latency_s": tier.write_latency_s,
                "page_bytes": tier.page_bytes,
            }
            for tier in spec.tiers.values()
        ],
        "ports": [
            {
                "name": port.name,
                **_rates(port),
                "latency_s": port.latency_s,
                "pageable_bytes_per_s": port.pageable_bytes_per_s,
            }
            for port in spec.ports.values()
        ],
        "computes": [
            {"name": compute.name, "peak_flop_per_s": dict(compute.peak_flop_per_s)}
            for compute in spec.computes.values()
        ],
        "queues": [
            {"name": queue.name, "kind": queue.kind, "slots": queue.slots, "launch_s": queue.launch_s}
            for queue in spec.queues.values()
        ],
    }


def _rates(part: TierSpec | PortSpec) -> dict[str, Any]:
    return {
        "read_bytes_per_s": part.read_bytes_per_s,
        "write_bytes_per_s": part.write_bytes_per_s,
        "total_bytes_per_s": part.total_bytes_per_s,
        "simplex": part.simplex,
    }


def _link_document(link: Link) -> dict[str, Any]:
    return {
        "name": link.name,
        "ends": [str(link.a), str(link.b)],
        "forward_bytes_per_s": link.forward_bytes_per_s,
        "backward_bytes_per_s": link.backward_bytes_per_s,
        "latency_s": link.latency_s,
        **({"shared": True} if link.shared else {}),
        **({"per_flow": True} if link.per_flow else {}),
        **({"passes": [hop.resource for hop in link.passes]} if link.passes else {}),
    }
