"""From what is wrong to what each part can carry: the differences between two instants, and ratios by direction."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from controller.faults.effects import Effects
from controller.topology.fault import Component


@dataclass(frozen=True, slots=True)
class PartChange:
    """What one part does from an instant on.

    Attributes:
        at_s: the instant [s].
        part: which: a link, port, tier or device.
        what: ``bandwidth``, ``reads``, ``compute``, ``frozen`` or ``dead``.
        ratio: over what is declared; of ``frozen`` and ``dead`` 0, and 1 when that ends.
    """

    at_s: float
    part: Component
    what: str
    ratio: float


def part_changes(at_s: float, before: Effects, after: Effects) -> Iterator[PartChange]:
    """The differences between two effects, in the order in which they are named."""
    for part in dict.fromkeys((*after.bandwidth, *before.bandwidth)):
        ratio = after.bandwidth.get(part, 1.0)
        if ratio != before.bandwidth.get(part, 1.0):
            yield PartChange(at_s, part, "bandwidth", ratio)
    for part in dict.fromkeys((*after.reads, *before.reads)):
        ratio = after.reads.get(part, 1.0)
        if ratio != before.reads.get(part, 1.0):
            yield PartChange(at_s, part, "reads", ratio)
    for device in dict.fromkeys((*after.compute, *before.compute)):
        ratio = after.compute.get(device, 1.0)
        if ratio != before.compute.get(device, 1.0):
            yield PartChange(at_s, Component("device", device), "compute", ratio)
    for what, then, now in (
        ("frozen", before.frozen, after.frozen),
        ("dead", before.dead_devices, after.dead_devices),
    ):
        for device in sorted(then ^ now):
            yield PartChange(at_s, Component("device", device), what, 0.0 if device in now else 1.0)


def ratios_of(
    sides: tuple[tuple[int, ...], tuple[int, ...]], effects: Effects, part: Component
) -> tuple[tuple[int, float], ...]:
    """What the resources of a part can carry: the worst of those of its directions, where they share one.

    Args:
        sides: resources that reads and writes load.
        effects: what is wrong.
        part: a link, port or tier.
    """
    both = effects.bandwidth.get(part, 1.0)
    found: dict[int, float] = {}
    for resources, ratio in zip(sides, (both * effects.reads.get(part, 1.0), both), strict=True):
        for resource in resources:
            found[resource] = min(found.get(resource, 1.0), ratio)
    return tuple(found.items())
