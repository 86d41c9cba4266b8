"""Says which devices of a run took no part although others of their group did."""

from __future__ import annotations

from controller.execute.outcome import Outcome
from controller.topology.schema import Topology


def idle_notes(topology: Topology, outcome: Outcome) -> list[str]:
    """A sentence for each group of which some devices held or did something and some did not.

    A group that the strategy has no use for at all is not mentioned.
    """
    used = {name.partition(".")[0] for name, most in outcome.peak_bytes.items() if most}
    used |= {use.name.partition(".")[0] for use in outcome.resources}
    notes: list[str] = []
    for group in dict.fromkeys(device.group for device in topology.devices.values()):
        names = [device.name for device in topology.group(group)]
        idle = [name for name in names if name not in used]
        if 0 < len(idle) < len(names):
            which = idle[0] if len(idle) == 1 else f"{idle[0]} to {idle[-1]}" if len(idle) > 2 else " and ".join(idle)
            verb = "takes" if len(idle) == 1 else "take"
            notes.append(f"{len(idle)} of the {len(names)} devices of {group} {verb} no part: {which}")
    return notes
