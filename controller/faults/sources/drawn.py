"""Faults of a topology drawn from published rates."""

from __future__ import annotations

import numpy as np

from controller.errors import BadTopology
from controller.faults.rates.draw import DrawnFailure, draw, repair_s
from controller.faults.rates.failure_rates import FailureRates
from controller.faults.targets import links_out, struck
from controller.topology.fault import DEAD, FROZEN, Component, Fault
from controller.topology.schema import Topology


def drawn_faults(topology: Topology, rates: FailureRates, for_s: float, seed: int) -> tuple[Fault, ...]:
    """Faults of the hosts of a topology over a time, in order.

    A fault that begins while one on the same part lasts is left out: the part is broken already.

    Args:
        topology: whose hosts fail.
        rates: how often.
        for_s: how long [s].
        seed: of the draw.

    Raises:
        BadTopology: a time or a seed below 0.
    """
    if seed < 0 or not for_s > 0.0:
        raise BadTopology(f"faults for {for_s:g} s with seed {seed}; write a time above 0 s and a seed of 0 or more")
    random = np.random.default_rng([seed, 0x64726177])
    hosts = tuple(dict.fromkeys(device.host for device in topology.devices.values()))
    found: list[Fault] = []
    busy_until: dict[Component, float] = {}
    for failure in draw(rates, len(hosts), for_s, random):
        target = _target(topology, hosts[failure.host], failure, random)
        lasts_s = float(random.exponential(failure.cause.mean_s)) if failure.cause.mean_s else repair_s(rates, random)
        if busy_until.get(target, -1.0) >= failure.at_s:
            continue
        busy_until[target] = failure.at_s + lasts_s if lasts_s else float("inf")
        kind = failure.cause.kind
        severity = 1.0 if kind in (DEAD, FROZEN) else failure.severity
        found.append(
            Fault(target, kind, severity, failure.at_s, lasts_s or None, text=f"{failure.cause.name} of {target}")
        )
    return tuple(found)


def _target(topology: Topology, host: str, failure: DrawnFailure, random: np.random.Generator) -> Component:
    """The part of a host that a cause strikes; a cause of links strikes one that leaves the host, if any does."""
    here = Component("host", host)
    if failure.cause.strikes == "device":
        own = [device.name for device in topology.devices.values() if device.host == host]
        gpus = [name for name in own if topology.devices[name].spec.kind in ("gpu", "npu")] or own
        return Component("device", gpus[int(random.integers(len(gpus)))])
    if failure.cause.strikes == "link":
        hit = struck(topology, here)
        links = links_out(topology, hit.links, hit.devices) or hit.links
        if links:
            return Component("link", links[int(random.integers(len(links)))])
    return here
