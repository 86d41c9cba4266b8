"""Entries of a campaign drawn from published rates: causes, severities, bursts, lemons, and repairs that do not help.

One entry is what fails at one instant: a failure alone, or a burst of one cause on several hosts. A cause of a host
strikes all ranks on it, one of links a link that leaves it. Campaigns inject one entry after the other and not at the
instants of the rates, since an hour of a cluster of this size has hardly any.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

import numpy as np

from controller.diagnosis.entries import CampaignEntry, Injected, entry_of
from controller.diagnosis.errors import BadCampaign
from controller.faults.rates.draw import HOUR_S, DrawnFailure, draw
from controller.faults.rates.failure_rates import FailureRates
from controller.faults.rates.published import RATES
from controller.faults.targets import links_out, struck
from controller.topology.fault import Component
from controller.topology.nearest import hint
from controller.topology.schema import Topology

SHARE = "bandwidth"
"""The kind whose severity in rates is the share that is left."""


def entries_of_rates(
    count: int, seed: int, topology: Topology, devices: Sequence[str], name: str
) -> tuple[CampaignEntry, ...]:
    """The entries of a campaign.

    Args:
        count: how many.
        seed: of what is drawn.
        topology: the declared cluster.
        devices: of the ranks.
        name: of the rates.

    Raises:
        BadCampaign: no such rates.
    """
    if name not in RATES:
        raise BadCampaign(f"no rates {name!r}{hint(name, RATES, 'rates')}")
    hosts = tuple(dict.fromkeys(topology.devices[device].host for device in devices))
    found: list[CampaignEntry] = []
    for number, failures in enumerate(_together(RATES[name], len(hosts), count, seed)):
        random = np.random.default_rng([seed, number, 0x7261])
        faults = {
            (fault.kind, fault.target): fault
            for failure in failures
            for fault in _injected(topology, hosts[failure.host], devices, failure, random)
        }
        found.append(entry_of(number, tuple(faults[key] for key in sorted(faults)), random))
    return tuple(found)


def _together(rates: FailureRates, hosts: int, count: int, seed: int) -> list[list[DrawnFailure]]:
    """The first `count` instants at which anything fails, each with all that fails then."""
    per_hour = sum(each.per_hour * (rates.gpus_per_host if each.per == "gpu" else 1) for each in rates.causes) * hosts
    for_s = 2.0 * (count + 16) / per_hour * HOUR_S
    while True:
        drawn = draw(rates, hosts, for_s, np.random.default_rng([seed, 0x7274]))
        groups = [list(group) for _, group in groupby(drawn, key=lambda failure: failure.at_s)]
        if len(groups) >= count:
            return groups[:count]
        for_s *= 2.0


def _injected(
    topology: Topology, host: str, devices: Sequence[str], failure: DrawnFailure, random: np.random.Generator
) -> list[Injected]:
    kind = failure.cause.shows
    severity = 1.0 / failure.severity if kind == SHARE else failure.severity
    own = [device for device in devices if topology.devices[device].host == host]
    if failure.cause.strikes == "link":
        hit = struck(topology, Component("host", host))
        out = links_out(topology, hit.links, tuple(own)) or hit.links
        ends = {link.name: {link.a.vertex, link.b.vertex} for link in topology.links}
        links = [link for link in out if ends[link] & set(own)] or list(out)
        return [Injected(kind, links[int(random.integers(len(links)))], severity)]
    if failure.cause.strikes == "host":
        return [Injected(kind, device, severity) for device in own]
    return [Injected(kind, own[int(random.integers(len(own)))], severity)]
