"""Does a strategy report a tier that is too small?"""

from __future__ import annotations

from collections.abc import Iterator

from controller.conformance.toys import Toy
from controller.execute.outcome import Outcome
from controller.execute.virtual import run_virtual
from controller.topology.capacities import with_capacities
from controller.topology.schema import Topology


def unreported_full_tiers(toy: Toy) -> list[str]:
    """Complaints about runs in which one tier lacks a byte, or holds a single one.

    A strategy may adapt and stay within what there is. Otherwise the run ends as running out of memory, with that tier
    and the bytes that are missing; at least one tier must end it so, or nothing was seen.
    """
    whole = run_virtual(toy.topology, [toy.program()])
    if not whole.ok:
        return [f"the run ended with: {whole.ended}"]
    complaints: list[str] = []
    reported = 0
    for device, tier in _used_tiers(toy.topology, whole):
        for capacity in (whole.peak_bytes[f"{device}.{tier}"] - 1, 1):
            small = _with_capacity(toy.topology, device, tier, capacity)
            outcome = run_virtual(small, [toy.program(small)])
            found = _complaint(outcome, device, tier, capacity)
            if found:
                complaints.append(f"{device}.{tier} of {capacity} bytes: {found}")
            reported += not outcome.ok
    if not reported:
        complaints.append("no tier was too small for it, not one of a single byte: does it place anything?")
    return complaints


def _with_capacity(topology: Topology, device: str, tier: str, capacity_bytes: int) -> Topology:
    return with_capacities(topology, lambda *of: capacity_bytes if of[:2] == (device, tier) else of[2])


def _used_tiers(topology: Topology, outcome: Outcome) -> Iterator[tuple[str, str]]:
    """One tier of every kind that a run took something of: devices of a group are alike."""
    seen: dict[tuple[str, str], None] = {}
    for device in topology.devices.values():
        for tier in device.spec.tiers:
            if outcome.peak_bytes.get(f"{device.name}.{tier}") and (device.group, tier) not in seen:
                seen[device.group, tier] = None
                yield device.name, tier


def _complaint(outcome: Outcome, device: str, tier: str, capacity: int) -> str:
    if outcome.ok:
        peak = outcome.peak_bytes.get(f"{device}.{tier}", 0)
        return "" if peak <= capacity else f"the run ended well with {peak} bytes in it"
    if not outcome.shortages:
        return f"the run ended with {outcome.ended!r} and reports no tier that is too small"
    short = outcome.shortages[0]
    if (short.device, short.tier) != (device, tier):
        return f"the run reports {short.device}.{short.tier} in its place"
    missing = short.missing_bytes
    if missing <= 0 or short.capacity_bytes != capacity:
        return f"the run reports {missing} bytes missing, of a tier of {short.capacity_bytes}"
    if not outcome.ended.startswith(f"OOM at {device}.{tier}: {missing} bytes missing"):
        return f"the run ends with {outcome.ended!r}, which does not name the tier and {missing} bytes"
    return ""
