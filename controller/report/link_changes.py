"""What faults of links did to a run, in words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from controller.report.tables import quantity


def change_text(change: Mapping[str, Any]) -> str:
    """One change of a link, as ``outcome.link_changes`` has it, in one line."""
    share = change["share"]
    what = "fails" if share == 0 else "works again" if share == 1 else f"keeps {share:g} of its capacity"
    moved = change["moved_transfers"]
    if not change["happened"]:
        came = "after the end"
    elif moved:
        came = f"{moved} transfer{'s' * (moved > 1)} moved to other paths"
    else:
        came = "nothing moved"
    return f"{change['link']} {what} at {quantity(change['at_s'], 's')}: {came}"


def part_change_text(change: Mapping[str, Any]) -> str:
    """One change of a tier, port or device, as ``outcome.part_changes`` has it, in one line."""
    share, what = change["share"], change["what"]
    if what in ("dead", "frozen"):
        said = ("dies" if what == "dead" else "freezes") if share == 0 else "is back" if what == "dead" else "goes on"
    elif share == 1:
        said = "is as fast as declared again"
    elif what == "compute":
        said = f"is {1 / share:g} times slower"
    else:
        said = f"keeps {share:g} of its {'read ' if what == 'reads' else ''}bandwidth"
    came = "" if change["happened"] else ": after the end"
    return f"{change['part']} {said} at {quantity(change['at_s'], 's')}{came}"
