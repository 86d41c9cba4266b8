"""Faults of the declared topology while the steps are played: what players keep of their resources, and when."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from controller.capture.timing.rank_parts import RankParts
from controller.errors import RunError
from controller.faults.effects import Effects, EffectsOf
from controller.faults.timeline import Timeline
from controller.topology.fault import Component
from controller.topology.schema import Topology


class RankLost(RunError):
    """A device that a fault takes away, so that no step ends any more; names it and the instant."""


@dataclass(frozen=True, slots=True)
class RankPartChange:
    """New capacities from an instant on.

    Attributes:
        at_s: when [s].
        capacity: resource to what is left of its capacity.
    """

    at_s: float
    capacity: Mapping[int, float]


def struck_devices(topology: Topology, devices: Sequence[str]) -> tuple[str, ...]:
    """Those of `devices` that some fault strikes on their own, so that they cannot stand for others."""
    found: dict[str, None] = {}
    for _, effects in EffectsOf(Timeline(topology, topology.faults)).all():
        for device in devices:
            if device in effects.compute or device in effects.dead_devices or device in effects.frozen:
                found[device] = None
            if any(part.kind in ("tier", "port") and _owner(part) == device for part in effects.bandwidth):
                found[device] = None
            if any(_is_link_of(topology, part, device) for part in effects.bandwidth):
                found[device] = None
    return tuple(device for device in devices if device in found)


def part_changes(topology: Topology, players: Mapping[str, RankParts]) -> tuple[RankPartChange, ...]:
    """What changes when, for the devices of the players."""
    if not topology.faults:
        return ()
    timeline = EffectsOf(Timeline(topology, topology.faults))
    return tuple(RankPartChange(at_s, _capacities(topology, effects, players)) for at_s, effects in timeline.all())


def lost_device(topology: Topology, at_s: float, devices: Sequence[str]) -> str:
    """The first of `devices` that is dead, frozen or cut off at `at_s` [s]; "" for none."""
    effects = EffectsOf(Timeline(topology, topology.faults)).at(at_s)
    cut = {end for link in topology.links if link.name in effects.down_links for end in (link.a.vertex, link.b.vertex)}
    gone = effects.dead_devices | effects.frozen | cut
    return next((device for device in devices if device in gone), "")


def _capacities(topology: Topology, effects: Effects, players: Mapping[str, RankParts]) -> dict[int, float]:
    found: dict[int, float] = {}
    for device, parts in players.items():
        is_gone = device in effects.dead_devices or device in effects.frozen
        found[parts.compute] = 0.0 if is_gone else effects.compute.get(device, 1.0)
        # A slow device is slow in all that its kernels do; its memory is no faster than they ask.
        found[parts.memory] = min(found[parts.compute], _least(effects, device, "tier"))
        links = [ratio for part, ratio in effects.bandwidth.items() if _is_link_of(topology, part, device)]
        port = 0.0 if is_gone else _least(effects, device, "port")
        for resource in (parts.inside, parts.outside):
            found[resource] = min([port, *links])
        found[parts.copies] = port
    return found


def _least(effects: Effects, device: str, kind: str) -> float:
    return min(
        (ratio for part, ratio in effects.bandwidth.items() if part.kind == kind and _owner(part) == device),
        default=1.0,
    )


def _owner(part: Component) -> str:
    return part.name.rpartition(".")[0]


def _is_link_of(topology: Topology, part: Component, device: str) -> bool:
    if part.kind != "link":
        return False
    return any(link.name == part.name and device in (link.a.vertex, link.b.vertex) for link in topology.links)
