"""Energy of a run: what its devices drew, from how long each was busy and the watts of its sheet.

Model: a device draws its idle power for the whole run, and the difference to its busy power while it works. One with a
compute unit works while its compute queues are held; what only stores (a drive, a CXL card) also while its memory and
ports move bytes, and then counts for the longest of them. Of several queues of one device the busiest counts, since
busy power is that of the whole device.
Source: the constants of the sheets; `node.hardware.power.energy_joule`.
Valid for: devices whose kernels draw about what the sheet calls busy (the board power of most).
Idle power is that of a device with an open context, as one has that waits in a run, where the sheet's source says so.
Not modelled: what a copy draws on a GPU or host beside its kernels, clocks that follow the load, switches, cables,
power supplies and cooling. A sheet without idle power leaves a lower bound, the busy time alone; one without busy
power, or without idle power of a device that did nothing, leaves the device out. Both are listed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from controller.execute.outcome import ResourceUse
from controller.topology.schema import Device, Topology
from node.hardware.power import energy_joule

STORES: Final = ("cxl", "csd", "nic")
"""Kinds of device that work when they move bytes."""


@dataclass(frozen=True, slots=True)
class DeviceEnergy:
    """What one device drew.

    Attributes:
        device: its name.
        energy_j: over the run [J].
        by_activity: ``idle`` where the sheet has it, ``compute`` and, of what stores, ``move``; they add up to
            `energy_j` [J].
        busy_s: for how long it drew busy power [s].
        lower_bound: the sheet has no idle power, so that only busy time counts.
    """

    device: str
    energy_j: float
    by_activity: Mapping[str, float]
    busy_s: float
    lower_bound: bool = False


@dataclass(frozen=True, slots=True)
class Energy:
    """What all devices of a run drew.

    Attributes:
        devices: that have power constants, in the topology's order.
        left_out: names of those that have none, or none for doing nothing, which they did.
        tokens: that the run made; 0 when none were.
    """

    devices: tuple[DeviceEnergy, ...]
    left_out: tuple[str, ...]
    tokens: float = 0.0

    @property
    def energy_j(self) -> float | None:
        """Of all devices that have power constants [J]; None when none has."""
        return sum(each.energy_j for each in self.devices) if self.devices else None

    @property
    def lower_bound(self) -> bool:
        """Whether something is missing from `energy_j`."""
        return bool(self.left_out) or any(each.lower_bound for each in self.devices)

    @property
    def joule_per_token(self) -> float | None:
        """Energy over tokens [J]; None without tokens or energy."""
        total = self.energy_j
        return total / self.tokens if total is not None and self.tokens > 0 else None

    def to_json(self) -> dict[str, object]:
        """The object of ``run --json`` under ``energy``."""
        return {
            "energy_j": self.energy_j,
            "joule_per_token": self.joule_per_token,
            "lower_bound": self.lower_bound,
            "by_device": [
                {
                    "device": each.device,
                    "energy_j": each.energy_j,
                    "by_activity_j": dict(each.by_activity),
                    "busy_s": each.busy_s,
                    "lower_bound": each.lower_bound,
                }
                for each in self.devices
            ],
            "left_out": list(self.left_out),
        }


def energy_of(topology: Topology, resources: Iterable[ResourceUse], duration_s: float, tokens: float = 0.0) -> Energy:
    """Energy of a run of `duration_s` that used `resources`.

    Args:
        topology: what it ran on.
        resources: use of resources and queues, as in `Outcome.resources`.
        duration_s: of the run on the virtual clock [s].
        tokens: that it made.
    """
    held = {use.name: use.busy_s for use in resources}
    devices: list[DeviceEnergy] = []
    left_out: list[str] = []
    for device in topology.devices.values():
        busy_w = device.spec.power_w.get("busy")
        idle_w = device.spec.power_w.get("idle")
        compute_s = min(duration_s, _compute_s(device, held))
        busy_s = max(compute_s, min(duration_s, _move_s(device, held)))
        if busy_w is None or (idle_w is None and busy_s <= 0.0):
            left_out.append(device.name)
            continue
        above_w = busy_w - (idle_w or 0.0)
        parts = {} if idle_w is None else {"idle": energy_joule(duration_s, 0.0, idle_w, busy_w)}
        parts["compute"] = above_w * compute_s
        if device.spec.kind in STORES:
            parts["move"] = above_w * (busy_s - compute_s)
        devices.append(
            DeviceEnergy(
                device.name,
                energy_joule(duration_s, busy_s, idle_w or 0.0, busy_w),
                parts,
                busy_s,
                idle_w is None,
            )
        )
    return Energy(tuple(devices), tuple(left_out), tokens)


def _compute_s(device: Device, held: Mapping[str, float]) -> float:
    """How long the busiest compute queue was held, its slots taken together [s]."""
    queues = [queue for queue in device.spec.queues.values() if queue.kind == "compute"]
    return max((held.get(f"{device.name}.{queue.name}", 0.0) / queue.slots for queue in queues), default=0.0)


def _move_s(device: Device, held: Mapping[str, float]) -> float:
    """How long the busiest side of a tier or port of a device that stores was at work [s]."""
    if device.spec.kind not in STORES:
        return 0.0
    parts = (*device.spec.tiers, *device.spec.ports)
    sides = ("read", "write", "total", "simplex")
    return max((held.get(f"{device.name}.{part}.{side}", 0.0) for part in parts for side in sides), default=0.0)
